"""From a user's history to pictures made for that user.

`Stylist` asks a recommender what comes next, chooses items that differ enough, puts the generated taste into words, and
yields looks: the chosen garments tried on by the person of a photo, then scenes painted from prompts that it writes.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from recsys.errors import ConfigError, DataError
from recsys.types import Generative, Ranking, Recommender, device_of

from ..person.body import Body
from ..person.parser import Parser
from ..provenance import sampling_settings
from ..tryon.dress import Piece, cut_from_photos, dress_each
from ..vocabulary import REGION, counted
from ..warping.worn import NotWorn
from .catalog import Attributes, Catalog, attribute_matrix, garment_phrase
from .config import StyleConfig
from .prompts import (
    Prompt,
    Reason,
    Word,
    completes,
    concept_vectors,
    explain,
    ground,
    ground_ranking,
    scene_for,
    with_scene,
    write_prompt,
)


@dataclass(frozen=True)
class Look:
    """A picture made for a user: try-on or scene, of which item, with its score, prompt, reasons, seed and seconds.

    settings: how it was painted, under the names that A1111's `parameters` chunk uses (Steps, Sampler, CFG scale, …).
    """

    image: Image.Image
    kind: Literal["tryon", "scene"]
    item: int
    score: float
    prompt: str
    reasons: tuple[Reason, ...]
    seed: int
    seconds: float
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What will be painted, before any pixel: the taste, the garments to try on and the scenes, best first.

    spare: garments that take the place of one whose picture turns out to be of something else.
    """

    taste: tuple[Word, ...]
    wear: tuple["Chosen", ...]
    scenes: tuple[tuple["Chosen", Prompt], ...]
    spare: tuple["Chosen", ...] = ()


@dataclass(frozen=True)
class Chosen:
    """An item with its score and the reasons for it."""

    item: int
    score: float
    reasons: tuple[Reason, ...] = ()


def seed_for(seed: int, user: str, item: int, kind: str = "") -> int:
    """Return a look's seed: 63 bits of sha256 over run seed, user, item and kind; never a position in a batch."""
    digest = hashlib.sha256(f"{seed}\x1f{user}\x1f{item}\x1f{kind}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def diverse(scores: Tensor, likeness: Tensor, k: int, *, diversity: float) -> list[int]:
    """Choose k of m candidates that score well and differ (maximal marginal relevance, Carbonell and Goldstein, 1998).

    scores (m,), scaled here to 0..1; likeness (m, m) in 0..1. Returns positions, best score first; fewer when m < k.
    """
    spread = (scores.max() - scores.min()).clamp_min(1e-9)
    relevance = (scores - scores.min()) / spread
    nearest, chosen = torch.zeros_like(relevance), []
    for _ in range(min(k, len(scores))):
        value = (1 - diversity) * relevance - diversity * nearest
        value[chosen] = -torch.inf
        chosen.append(int(value.argmax()))
        nearest = torch.maximum(nearest, likeness[chosen[-1]])
    return sorted(chosen, key=lambda at: (-float(scores[at]), at))


class Stylist:
    """Make looks for a user from a recommender, a catalogue with the same items, and the two pipelines.

    Either pipeline may be None when its kind of look is not asked for. parser: helps to cut garments out of photos that
    are not on white; without it colours alone decide.

    Raises:
        ConfigError: recommender and catalogue do not have the same number of items.
    """

    def __init__(
        self,
        recommender: Recommender,
        catalog: Catalog,
        tryon: Any = None,
        text2image: Any = None,
        *,
        parser: Parser | None = None,
    ) -> None:
        if recommender.n_items != len(catalog):
            raise ConfigError(f"the recommender knows {recommender.n_items} items and the catalogue {len(catalog)}; "
                              "use the catalogue that the recommender was trained on")  # fmt: skip
        self.recommender, self.catalog = recommender, catalog
        self.tryon, self.text2image, self.parser = tryon, text2image, parser
        self.attributes: Attributes = attribute_matrix(catalog)
        self.shown = self.attributes.matrix.any(1)  # (n+1,): an item without a picture has no words; padding has none
        self.concepts = self.vectors = None
        if isinstance(recommender, Generative):
            embeddings = recommender.item_embeddings().detach().float().cpu()
            self.concepts = concept_vectors(embeddings, self.attributes)
            self.vectors = embeddings - embeddings[1:].mean(0)

    def __call__(
        self,
        history: Sequence[int],
        person: Image.Image | None = None,
        k: int = 4,
        *,
        body: Body | None = None,
        scenes: int = 2,
        seed: int = 0,
        user: str | None = None,
        config: StyleConfig = StyleConfig(),
    ) -> Iterator[Look]:
        """Yield k looks of `person` in recommended garments, then `scenes` scenes, each when ready, best first.

        history: item ids, most recent last. body: what a parser (or a renderer) says of `person`; items of kinds that
        cannot be put on are passed over, and the next look's reasons say so. user: what seeds are derived from besides
        `seed`; the history itself when left out. Without a person there are only scenes.

        Raises:
            DataError: the history is unusable, or nothing can be worn.
            ConfigError: a pipeline, person or body that is needed is missing.
        """
        self._check(person, k, body, scenes)
        name = _user_key(history) if user is None else user
        dressed = person is not None and body is not None and k > 0
        wearable = partial(_wearable, body) if dressed else None
        plan = self.plan(history, k if dressed else 0, wearable=wearable, scenes=scenes, seed=seed, config=config)
        if person is not None and body is not None:
            yield from self._wear(plan, person, body, seed, name, config)
        for chosen, prompt in plan.scenes:
            yield self._paint(chosen, prompt, seed_for(seed, name, chosen.item, f"scene {prompt.text}"), config)

    def _check(self, person: Image.Image | None, k: int, body: Body | None, scenes: int) -> None:
        if k < 0 or scenes < 0 or k + scenes == 0:
            raise ConfigError(f"k = {k} and scenes = {scenes}; both must be 0 or more, and one of them at least 1")
        if person is not None and k > 0 and (self.tryon is None or body is None):
            raise ConfigError("a person to dress needs a try-on pipeline and a body; give both, or k=0 for scenes only")
        if scenes > 0 and self.text2image is None:
            raise ConfigError(f"{scenes} scenes need a text-to-image pipeline; give one, or scenes=0")
        if person is None and scenes == 0:
            raise ConfigError("no person to dress and no scene asked for; give a person, or scenes of at least 1")

    def plan(
        self,
        history: Sequence[int],
        k: int = 4,
        *,
        wearable: Callable[[str], bool] | None = None,
        scenes: int = 2,
        seed: int = 0,
        config: StyleConfig = StyleConfig(),
    ) -> Plan:
        """Decide what to paint without painting it: fast, and what an evaluation of personalisation needs.

        wearable(kind): whether the person can wear a kind; left out, every kind of the try-on vocabulary.
        """
        past = self._check_history(history, config)
        ranking = self._rank(past, config.pool, seed, config)
        taste = self._taste(past, ranking, seed, config)
        ranking, able = self._widen(past, ranking, k, wearable or REGION.__contains__, seed, config)
        items, scores = ranking.items[0].tolist(), ranking.scores[0].float()
        picked = self._pick(items, scores, able, k, config)
        wear = [self._chosen(items[at], scores[at], history, taste) for at in picked]
        wear = _with_notes(wear, items, able, self.catalog)
        left = [at for at in able if at not in picked][:k]
        spare = [self._chosen(items[at], scores[at], history, taste) for at in left]
        painted = self._scenes(items, scores, history, taste, scenes, config)
        return Plan(taste, tuple(wear), tuple(painted), tuple(spare))

    def _check_history(self, history: Sequence[int], config: StyleConfig) -> Tensor:
        items = [int(item) for item in history if int(item) != 0]
        if not items:
            raise DataError("the history is empty; give at least one item the user has chosen")
        wrong = [item for item in items if not 1 <= item <= len(self.catalog)]
        if wrong:
            raise DataError(f"the history names item {wrong[0]}; items are 1 to {len(self.catalog)}")
        if config.exclude_seen and len(set(items)) == len(self.catalog):
            raise DataError(
                f"the history holds all {len(self.catalog)} items; set exclude_seen to False to see them again"
            )
        return torch.tensor([items], device=device_of(self.recommender))

    def _rank(self, past: Tensor, pool: int, seed: int, config: StyleConfig) -> Ranking:
        """Return the ranking (1, m) of at most `pool` items that have a picture, without empty places."""
        seen = len(set(past[0].tolist())) if config.exclude_seen else 0
        noise = torch.Generator().manual_seed(seed)
        wanted = min(pool + len(self.catalog) - int(self.shown.sum()), len(self.catalog) - seen)
        found = self.recommender.recommend(past, wanted, exclude_seen=config.exclude_seen, generator=noise)
        items, scores = found.items.cpu(), found.scores.cpu()
        real = self.shown[items[0]].nonzero()[:pool, 0]
        if not len(real):
            raise DataError("the catalogue has no picture of any item that is left; add some, or allow seen items")
        return Ranking(items[:, real], scores[:, real])

    def _taste(self, past: Tensor, ranking: Ranking, seed: int, config: StyleConfig) -> tuple[Word, ...]:
        if self.concepts is None or not isinstance(self.recommender, Generative):
            return ground_ranking(ranking, self.attributes)
        noise = torch.Generator().manual_seed(seed)
        generated = self.recommender.generate(past, draws=config.draws, generator=noise)[0]
        return ground(generated.detach().cpu(), self.concepts)

    def _widen(
        self, past: Tensor, ranking: Ranking, k: int, wearable: Callable[[str], bool], seed: int, config: StyleConfig
    ) -> tuple[Ranking, list[int]]:
        """Return a ranking with k wearable items, or all items, and the places of the wearable ones."""
        pool, size = config.pool, 0
        while True:
            kinds = [self.catalog.words(item)["kind"] for item in ranking.items[0].tolist()]
            able = [at for at, kind in enumerate(kinds) if wearable(kind)]
            if len(able) >= k or len(kinds) == size:
                break
            pool, size = 4 * pool, len(kinds)
            ranking = self._rank(past, pool, seed, config)
        if k > 0 and not able:
            raise DataError(
                f"none of the {len(kinds)} items can be worn in this picture; give a mask for one of their kinds "
                f"({', '.join(sorted(set(kinds)))}), or k=0 for scenes only"
            )
        return ranking, able

    def _pick(self, items: list[int], scores: Tensor, able: list[int], k: int, config: StyleConfig) -> list[int]:
        if not able or k == 0:
            return []
        rows = self.attributes.matrix[[items[at] for at in able]]
        likeness = rows @ rows.T / rows.sum(1, keepdim=True).clamp_min(1)
        return [able[at] for at in diverse(scores[able], likeness, k, diversity=config.diversity)]

    def _chosen(self, item: int, score: Tensor, history: Sequence[int], taste: Sequence[Word]) -> Chosen:
        vectors = self.attributes.matrix if self.vectors is None else self.vectors
        past = [int(id) for id in history if self.shown[int(id)]]
        return Chosen(item, float(score), explain(item, past, vectors, taste, self.catalog))

    def _scenes(
        self,
        items: list[int],
        scores: Tensor,
        history: Sequence[int],
        taste: Sequence[Word],
        count: int,
        config: StyleConfig,
    ) -> Iterator[tuple[Chosen, Prompt]]:
        """Choose an item for each scene, and the best-ranked garment for the other half of the body to wear with it."""
        kinds = [self.catalog.words(item)["kind"] for item in items]
        able = [at for at, kind in enumerate(kinds) if kind in REGION] or list(range(len(items)))
        free = [items[at] for at in able]
        for variant, at in enumerate(self._pick(items, scores, able, count, config)):
            words = self.catalog.words(items[at])
            scene = scene_for(words, taste, variant=variant)
            pair = next((item for item in free if completes(self.catalog.words(item), words, scene)), None)
            free = [item for item in free if item not in (items[at], pair)]
            other = self.catalog.words(pair) if pair else None
            prompt = write_prompt(words, taste, companion=other, scene=scene, person=config.scene_person)
            chosen = self._chosen(items[at], scores[at], history, taste)
            yield replace(chosen, reasons=(*with_scene(chosen.reasons, scene, taste), *self._worn_with(pair))), prompt

    def _worn_with(self, pair: int | None) -> tuple[Reason, ...]:
        if pair is None:
            return ()
        return (Reason("note", f"worn with item {pair}, {garment_phrase(self.catalog.words(pair))}", item=pair),)

    def _wear(
        self, plan: Plan, person: Image.Image, body: Body, seed: int, user: str, config: StyleConfig
    ) -> Iterator[Look]:
        """Try garments on: the first alone, so that it appears early, then `batch_size` at a time."""
        waiting, spare, done = list(plan.wear), list(plan.spare), 0
        while waiting:
            start = time.perf_counter()
            group: list[tuple[Chosen, Piece]] = []
            while waiting and len(group) < (config.batch_size if done else 1):
                chosen = waiting.pop(0)
                try:
                    group.append((chosen, self._piece(chosen)))
                except NotWorn as error:
                    if spare:
                        waiting.append(_instead(spare.pop(0), chosen, self.catalog, str(error)))
                    elif not (group or waiting or done):
                        raise
            done += len(group)
            if group:
                yield from self._dressed(group, person, body, seed, user, config, start)

    def _piece(self, chosen: Chosen) -> Piece:
        """Return the garment of an item, cut out of its picture; NotWorn where somebody wears others in it."""
        garment = self.catalog[chosen.item]
        pieces, _ = cut_from_photos([Piece(garment.image, garment.kind)], self.tryon, parser=self.parser)
        return pieces[0]

    def _dressed(
        self, group: list[tuple[Chosen, Piece]], person: Image.Image, body: Body, seed: int, user: str,
        config: StyleConfig, start: float,
    ) -> Iterator[Look]:  # fmt: skip
        """Paint a group in one batch; start: when its time began."""
        seeds = [seed_for(seed, user, chosen.item, "tryon") for chosen, _ in group]
        images = dress_each(
            self.tryon,
            person,
            body,
            [piece for _, piece in group],
            num_inference_steps=config.tryon_steps,
            guidance_scale=config.tryon_guidance,
            generators=[torch.Generator().manual_seed(one) for one in seeds],
        )
        seconds = (time.perf_counter() - start) / len(group)
        for (chosen, _), image, one in zip(group, images, seeds, strict=True):
            prompt = f"a person wearing {garment_phrase(self.catalog.words(chosen.item))}"
            settings = _settings(self.tryon, image, one, config.tryon_steps, config.tryon_guidance)
            yield Look(image, "tryon", chosen.item, chosen.score, prompt, chosen.reasons, one, seconds, settings)

    def _paint(self, chosen: Chosen, prompt: Prompt, seed: int, config: StyleConfig) -> Look:
        height, width = config.scene_size or (None, None)
        start = time.perf_counter()
        image = self.text2image(
            prompt.text,
            height=height,
            width=width,
            num_inference_steps=config.scene_steps,
            guidance_scale=config.scene_guidance,
            negative_prompt=config.negative_prompt or None,
            generator=torch.Generator().manual_seed(seed),
        ).images[0]
        seconds = time.perf_counter() - start
        settings = _settings(self.text2image, image, seed, config.scene_steps, config.scene_guidance)
        if config.negative_prompt:
            settings["Negative prompt"] = config.negative_prompt
        return Look(image, "scene", chosen.item, chosen.score, prompt.text, chosen.reasons, seed, seconds, settings)


def _wearable(body: Body, kind: str) -> bool:
    return kind in REGION and body.wears(kind)


def _settings(pipeline, image: Image.Image, seed: int, steps: int, guidance: float) -> dict[str, str]:
    """Return what was set, in A1111's names and order; the model by its folder's name only."""
    sampler = type(pipeline.scheduler).__name__.removesuffix("Scheduler")
    model = str(getattr(pipeline, "name_or_path", "") or "")
    size = (image.height, image.width)
    return sampling_settings(steps=steps, sampler=sampler, guidance=guidance, seed=seed, size=size, model=model)


def _user_key(history: Sequence[int]) -> str:
    return ",".join(str(int(item)) for item in history if int(item) != 0)


def _instead(chosen: Chosen, of: Chosen, catalog: Catalog, why: str) -> Chosen:
    """Say with a look which item it stands for, and what was wrong with that one's picture."""
    note = Reason("note", f"instead of item {catalog.names[of.item - 1]}: {why}")
    return replace(chosen, reasons=(*chosen.reasons, note))


def _with_notes(wear: list[Chosen], items: list[int], able: list[int], catalog: Catalog) -> list[Chosen]:
    """Say with each look which better-ranked items were passed over, as the picture has no mask for their kind."""
    noted_places: set[int] = set()
    noted = []
    for chosen in wear:
        before = [at for at in range(items.index(chosen.item)) if at not in able and at not in noted_places]
        noted_places |= set(before)
        kinds = sorted({catalog.words(items[at])["kind"] for at in before})
        text = (
            f"{counted(len(before), 'better-ranked item')} passed over: this picture has no mask for {', '.join(kinds)}"
        )
        noted.append(replace(chosen, reasons=(*chosen.reasons, Reason("note", text))) if before else chosen)
    return noted
