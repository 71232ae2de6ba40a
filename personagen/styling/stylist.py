"""From a user's history to pictures made for that user.

`Stylist` asks a recommender what comes next, chooses items that differ enough, puts the generated taste into words, and
yields looks: the chosen garments tried on by the person of a photo, then scenes with that person, or with one whom the
text-to-image model paints.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from PIL import Image

from recsys.errors import ConfigError, DataError
from recsys.types import Recommender

from ..figure.mesh import Figure
from ..person.body import Body
from ..person.parser import Parser
from ..person.parts import Part
from ..provenance import sampling_settings
from ..tryon.dress import Piece, cut_from_photos, dress_each, dress_outlined
from ..vocabulary import REGION, SCENE_ALONE
from .catalog import Catalog, garment_phrase
from .config import StyleConfig
from .placing import Cutout, cut_out, set_into
from .planner import Chosen, Plan, PlannedScene, Planner, seed_for
from .prompts import Reason


@dataclass(frozen=True)
class Look:
    """A picture made for a user: try-on or scene, of which item, with its score, prompt, reasons, seed and seconds.

    settings: how it was painted, under the names that A1111's `parameters` chunk uses (Steps, Sampler, CFG scale, …).
    figure: the same in three dimensions, where that was asked for and can be made.
    trust: how far a try-on on a photo can be trusted, 0 to 1 (`tryon.trust`); None where nothing had to be guessed.
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
    figure: Figure | None = None
    trust: float | None = None


class Stylist(Planner):
    """Make looks for a user from a recommender, a catalogue with the same items, and the two pipelines.

    Either pipeline may be None when its kind of look is not asked for. parser: helps to cut garments out of photos that
    are not on white, and finds who is to be set into a scene where garments were not laid; without it colours alone
    decide, and scenes show painted people there.

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
        super().__init__(recommender, catalog)
        self.tryon, self.text2image, self.parser = tryon, text2image, parser

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

        A scene is painted empty and `person` set into it, dressed; without person, body and try-on pipeline, or with
        `config.sitter_in_scenes` off, it is painted with somebody in it.

        history: item ids, most recent last. body: what a parser (or a renderer) says of `person`; items of kinds that
        cannot be put on are passed over, and the next look's reasons say so. user: what seeds are derived from besides
        `seed`; the history itself when left out. Without a person there are only scenes.

        Raises:
            DataError: the history is unusable, or nothing can be worn.
            ConfigError: a pipeline, person or body that is needed is missing.
        """
        self._check(person, k, body, scenes)
        plan, _ = self.decide(
            history, k, body=None if person is None else body, scenes=scenes, seed=seed, config=config
        )
        name = _user_key(history) if user is None else user
        yield from self.paint(plan, person, body, seed=seed, user=name, config=config)

    def decide(
        self,
        history: Sequence[int],
        k: int = 4,
        *,
        body: Body | None = None,
        scenes: int = 2,
        seed: int = 0,
        config: StyleConfig = StyleConfig(),
    ) -> tuple[Plan, dict[int, str]]:
        """Plan looks for whoever has this body, passing over items whose pictures cannot be read; say why of each.

        Without a body nobody is dressed. What is found unreadable stays so for later calls.

        Raises:
            DataError: as `plan`.
        """
        wearable = None if body is None or self.tryon is None else partial(_wearable, body)
        decide = partial(
            self.plan, history, k if wearable else 0, wearable=wearable, scenes=scenes, seed=seed, config=config
        )
        plan, damaged = decide(), dict[int, str]()
        while lacking := [item for item in _pictured(plan) if self.shown[item] and not self._readable(item, damaged)]:
            self.shown[lacking] = False
            plan = decide()
        return plan, damaged

    def paint(
        self,
        plan: Plan,
        person: Image.Image | None = None,
        body: Body | None = None,
        *,
        seed: int = 0,
        user: str,
        config: StyleConfig = StyleConfig(),
    ) -> Iterator[Look]:
        """Yield the looks of a plan that was made for this body, each when ready; see `__call__`.

        Raises:
            DataError: nothing can be worn.
        """
        sitter, name = None if person is None or body is None or self.tryon is None else (person, body), user
        if sitter is not None:
            yield from self._wear(plan, *sitter, seed, name, config)
        for scene in plan.scenes:
            one = seed_for(seed, name, scene.chosen.item, f"scene {scene.prompt.text}")
            if sitter is not None and config.sitter_in_scenes:
                yield self._set_in(scene, *sitter, one, config)
            else:
                yield self._paint(scene, one, config)

    def _readable(self, item: int, damaged: dict[int, str]) -> bool:
        """Tell whether an item's picture can be read; a damaged one is noted and passed over before any painting."""
        try:
            return self.catalog[item] is not None
        except DataError as error:
            damaged[item] = str(error)
            return False

    def _check(self, person: Image.Image | None, k: int, body: Body | None, scenes: int) -> None:
        if k < 0 or scenes < 0 or k + scenes == 0:
            raise ConfigError(f"k = {k} and scenes = {scenes}; both must be 0 or more, and one of them at least 1")
        if person is not None and k > 0 and (self.tryon is None or body is None):
            raise ConfigError("a person to dress needs a try-on pipeline and a body; give both, or k=0 for scenes only")
        if scenes > 0 and self.text2image is None:
            raise ConfigError(f"{scenes} scenes need a text-to-image pipeline; give one, or scenes=0")
        if person is None and scenes == 0:
            raise ConfigError("no person to dress and no scene asked for; give a person, or scenes of at least 1")

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
                except DataError as error:  # somebody wears others in its picture, or it is damaged
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
        trusts: dict[int, float] = {}
        images = dress_each(
            self.tryon,
            person,
            body,
            [piece for _, piece in group],
            num_inference_steps=config.tryon_steps,
            guidance_scale=config.tryon_guidance,
            judge=lambda at, trust: trusts.update({at: trust.score}),
            generators=[torch.Generator().manual_seed(one) for one in seeds],
        )
        seconds = (time.perf_counter() - start) / len(group)
        for at, ((chosen, _), image, one) in enumerate(zip(group, images, seeds, strict=True)):
            prompt = f"a person wearing {garment_phrase(self.catalog.words(chosen.item))}"
            settings = _settings(self.tryon, image, one, config.tryon_steps, config.tryon_guidance)
            yield Look(image, "tryon", chosen.item, chosen.score, prompt, chosen.reasons, one, seconds, settings,
                       trust=trusts.get(at))  # fmt: skip

    def _paint(self, scene: PlannedScene, seed: int, config: StyleConfig) -> Look:
        """Paint a scene with somebody in it."""
        start, chosen = time.perf_counter(), scene.chosen
        image, settings = self._from_words(scene.prompt.text, seed, config)
        seconds = time.perf_counter() - start
        return Look(image, "scene", chosen.item, chosen.score, scene.prompt.text, chosen.reasons, seed, seconds,
                    settings)  # fmt: skip

    def _from_words(self, prompt: str, seed: int, config: StyleConfig) -> tuple[Image.Image, dict[str, str]]:
        height, width = config.scene_size or (None, None)
        image = self.text2image(
            prompt,
            height=height,
            width=width,
            num_inference_steps=config.scene_steps,
            guidance_scale=config.scene_guidance,
            negative_prompt=config.negative_prompt or None,
            generator=torch.Generator().manual_seed(seed),
        ).images[0]
        settings = _settings(self.text2image, image, seed, config.scene_steps, config.scene_guidance)
        if config.negative_prompt:
            settings["Negative prompt"] = config.negative_prompt
        return image, settings

    def _set_in(self, scene: PlannedScene, person: Image.Image, body: Body, seed: int, config: StyleConfig) -> Look:
        """Paint a scene empty and set the person into it, dressed in what it is to show.

        It is painted with somebody in it where the person is not found, or the item's picture shows others.
        """
        start, chosen, pieces = time.perf_counter(), scene.chosen, self._outfit(scene)
        sitter = self._cut_out(person, body, pieces, seed, config) if pieces else None
        if sitter is None:
            return self._paint(scene, seed, config)
        empty, settings = self._from_words(SCENE_ALONE[scene.prompt.scene], seed, config)
        image = set_into(empty, sitter)
        seconds, settings = time.perf_counter() - start, settings | {"Size": f"{image.width}x{image.height}"}
        return Look(image, "scene", chosen.item, chosen.score, scene.prompt.text, chosen.reasons, seed, seconds,
                    settings)  # fmt: skip

    def _cut_out(
        self, person: Image.Image, body: Body, pieces: list[Piece], seed: int, config: StyleConfig
    ) -> Cutout | None:
        """Dress the person and cut them out; None where nobody is found."""
        dressed = dress_outlined(
            self.tryon, person, body, pieces, num_inference_steps=config.tryon_steps,
            guidance_scale=config.tryon_guidance, generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        worn, found = dressed.image, dressed.outline
        if found is None:
            again = self.parser is not None and body.inner is None and body.others is None  # nobody else is in it
            found = (self.parser(worn) if again and self.parser else body).parts != Part.BACKGROUND
        return cut_out(worn, found) if found.any() else None

    def _outfit(self, scene: PlannedScene) -> list[Piece]:
        """Return the garments of a scene, cut out; none where the picture of its own item shows others."""
        found: list[Piece] = []
        for item in scene.outfit:
            try:
                found.append(self._piece(replace(scene.chosen, item=item)))
            except DataError:
                if not found:
                    return []
        return found


def _pictured(plan: Plan) -> list[int]:
    """List the items whose pictures a plan needs."""
    scenes = [item for scene in plan.scenes for item in (scene.chosen.item, *scene.outfit)]
    return [*scenes, *(chosen.item for chosen in (*plan.wear, *plan.spare))]


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
