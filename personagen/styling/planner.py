"""Decide what a user is shown, before any pixel: which items, in which scenes, in which words, and why."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recsys.errors import ConfigError, DataError
from recsys.types import Generative, Ranking, Recommender, device_of

from ..vocabulary import REGION, counted
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
class Chosen:
    """An item with its score and the reasons for it."""

    item: int
    score: float
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class PlannedScene:
    """A scene: the item it shows, its prompt, and the items of the catalogue that are worn in it."""

    chosen: Chosen
    prompt: Prompt
    outfit: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """What will be painted: the taste, the garments to try on and the scenes, best first.

    spare: garments that take the place of one whose picture turns out to be of something else.
    """

    taste: tuple[Word, ...]
    wear: tuple[Chosen, ...]
    scenes: tuple[PlannedScene, ...]
    spare: tuple[Chosen, ...] = ()


def seed_for(seed: int, user: str, item: int, kind: str = "") -> int:
    """Return a look's seed: 32 bits of sha256 over run seed, user, item and kind; never a position in a batch."""
    digest = hashlib.sha256(f"{seed}\x1f{user}\x1f{item}\x1f{kind}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


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


class Planner:
    """Plan looks for a user from a recommender and a catalogue with the same items.

    Raises:
        ConfigError: recommender and catalogue do not have the same number of items.
    """

    def __init__(self, recommender: Recommender, catalog: Catalog) -> None:
        if recommender.n_items != len(catalog):
            raise ConfigError(f"the recommender knows {recommender.n_items} items and the catalogue {len(catalog)}; "
                              "use the catalogue that the recommender was trained on")  # fmt: skip
        self.recommender, self.catalog = recommender, catalog
        self.attributes: Attributes = attribute_matrix(catalog)
        self.shown = self.attributes.matrix.any(1)  # (n+1,): an item without a picture has no words; padding has none
        self.concepts = self.vectors = None
        if isinstance(recommender, Generative):
            embeddings = recommender.item_embeddings().detach().float().cpu()
            self.concepts = concept_vectors(embeddings, self.attributes)
            self.vectors = embeddings - embeddings[1:].mean(0)

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
        painted = self._scenes(ranking, history, taste, scenes, wearable, config)
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
        self, ranking: Ranking, history: Sequence[int], taste: Sequence[Word], count: int,
        wearable: Callable[[str], bool] | None, config: StyleConfig,
    ) -> Iterator[PlannedScene]:  # fmt: skip
        """Choose an item for each scene, and the best-ranked garment for the other half of the body to wear with it.

        Whoever wears it themselves (`wearable` is known) keeps on what the catalogue has no match for; a painted person
        wears what the taste would add.
        """
        items, scores, fits = ranking.items[0].tolist(), ranking.scores[0].float(), wearable or REGION.__contains__
        kinds = [self.catalog.words(item)["kind"] for item in items]
        able = [at for at, kind in enumerate(kinds) if fits(kind)] or list(range(len(items)))
        free = [items[at] for at in able]
        for variant, at in enumerate(self._pick(items, scores, able, count, config)):
            item, words = items[at], self.catalog.words(items[at])
            scene = scene_for(words, taste, variant=variant)
            pair = next((other for other in free if completes(self.catalog.words(other), words, scene)), None)
            free = [other for other in free if other not in (item, pair)]
            companion = self.catalog.words(pair) if pair else None
            prompt = write_prompt(words, taste, companion=companion, scene=scene, person=config.scene_person,
                                  complete=wearable is None or not config.sitter_in_scenes)  # fmt: skip
            chosen = self._chosen(item, scores[at], history, taste)
            reasons = (*with_scene(chosen.reasons, scene, taste), *self._worn_with(pair))
            yield PlannedScene(replace(chosen, reasons=reasons), prompt, (item, pair) if pair else (item,))

    def _worn_with(self, pair: int | None) -> tuple[Reason, ...]:
        if pair is None:
            return ()
        return (Reason("note", f"worn with item {pair}, {garment_phrase(self.catalog.words(pair))}", item=pair),)


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
