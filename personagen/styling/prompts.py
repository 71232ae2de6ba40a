"""Put a generated taste into words: concept vectors in the recommender's item space, prompts, and reasons.

A concept vector is the direction from the catalogue's mean embedding to the mean of the items that carry a word (in the
manner of the concept activation vectors of Kim et al., 2018, by means instead of a classifier). A generated embedding
is read by its cosine with every concept, in standard deviations over the catalogue's own items: "red +1.8" is redder
than a typical item by 1.8. Recommenders without embeddings are read by the words of the items they rank first. Both
give the same `Word`s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from recsys.errors import ConfigError, DataError
from recsys.types import Ranking

from ..vocabulary import COLOURS, KINDS, PATTERNS, REGION, SCENE_PHRASE, SCENES
from .catalog import Attributes, Catalog, garment_phrase

OUT_OF_PLACE: dict[str, frozenset[str]] = {
    "snow": frozenset({"shorts", "skirt", "t-shirt"}),
    "beach": frozenset({"jacket", "sweater"}),
}
"""Kinds that a prompt does not add of itself in a scene; a kind the user wants is never refused."""
MEANT = 0.1
"""A word of the taste that scores no more than this is not given as a reason."""
_COUNTERPART = {"upper": "lower", "lower": "upper"}


@dataclass(frozen=True)
class Word:
    """One word of a taste: its slot (kind, colour, pattern, scene) and its strength (0 = as a typical item)."""

    slot: str
    word: str
    score: float


@dataclass(frozen=True)
class Reason:
    """Why a look was made: a past item (`item` > 0), a concept, or a note about what was left out."""

    source: Literal["past", "concept", "note"]
    text: str
    score: float = 0.0
    item: int = 0


@dataclass(frozen=True)
class Concepts:
    """Directions of words in item space: words (m), vectors (m, d) of unit length, centre (d,), and per word how the
    catalogue's items score (mean and deviation, (m,)) and how far its support can be trusted (weight (m,) in 0..1)."""

    words: tuple[tuple[str, str], ...]
    vectors: Tensor
    centre: Tensor
    mean: Tensor
    deviation: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Prompt:
    """A prompt, and what it says: the garments' words, upper or dress first, and the scene."""

    text: str
    garments: tuple[dict[str, str], ...]
    scene: str


def concept_vectors(embeddings: Tensor, attributes: Attributes, *, shrink: float = 3.0) -> Concepts:
    """Return a concept for every column of `attributes` that some but not all items carry.

    embeddings (n+1, d), row 0 = padding; attributes.matrix (n+1, f). A word carried by c items counts c / (c + shrink).

    Raises:
        ConfigError: the two do not have the same number of items, or no word tells items apart.
    """
    if embeddings.shape[0] != attributes.matrix.shape[0]:
        raise ConfigError(
            f"{embeddings.shape[0] - 1} item embeddings but {attributes.matrix.shape[0] - 1} items in the catalogue; "
            "use the catalogue that the recommender was trained on"
        )
    items, carries = embeddings[1:].detach().float(), attributes.matrix[1:].to(embeddings.device)
    support = carries.sum(0)
    kept = [at for at in range(carries.shape[1]) if 0 < support[at] < len(items)]
    if not kept:
        raise ConfigError(
            "no word tells the catalogue's items apart; give kinds, colours, patterns or scenes that differ"
        )
    carries, support = carries[:, kept], support[kept]
    centre = items.mean(0)
    vectors = torch.nn.functional.normalize(carries.T @ items / support[:, None] - centre, dim=-1)
    scores = torch.nn.functional.normalize(items - centre, dim=-1) @ vectors.T
    names = [attributes.columns[at].split("=", 1) for at in kept]
    return Concepts(tuple((slot, word) for slot, word in names), vectors, centre, scores.mean(0),
                    scores.std(0).clamp_min(1e-6), support / (support + shrink))  # fmt: skip


def ground(generated: Tensor, concepts: Concepts) -> tuple[Word, ...]:
    """Read generated embeddings (draws, d) as words, strongest first: the mean over draws of the weighted z-score."""
    if generated.ndim != 2 or generated.shape[1] != concepts.centre.shape[0] or len(generated) == 0:
        raise ConfigError(
            f"generated has shape {tuple(generated.shape)}; it must be (draws >= 1, {concepts.centre.shape[0]})"
        )
    direction = torch.nn.functional.normalize(generated.float() - concepts.centre, dim=-1)
    scores = ((direction @ concepts.vectors.T - concepts.mean) / concepts.deviation).mean(0) * concepts.weight
    return _sorted_words(concepts.words, scores)


def ground_ranking(ranking: Ranking, attributes: Attributes) -> tuple[Word, ...]:
    """Read one user's ranking (1, k) as words, strongest first, for recommenders that generate no embeddings.

    The rank-discounted share of each word, 1 / log2(1 + rank), against its share in the catalogue, in standard
    deviations of such a share under random rankings.
    """
    items = ranking.items[0][ranking.items[0] > 0].cpu()
    if len(items) == 0:
        raise DataError("the ranking holds no item; the user has seen the whole catalogue, allow seen items")
    weight = 1 / torch.log2(2.0 + torch.arange(len(items)))
    weight = weight / weight.sum()
    base = attributes.matrix[1:].mean(0)
    spread = (base * (1 - base) * weight.square().sum()).sqrt()
    kept = [at for at in range(len(base)) if 0 < base[at] < 1]
    scores = ((weight @ attributes.matrix[items] - base) / spread.clamp_min(1e-6))[kept]
    names = [attributes.columns[at].split("=", 1) for at in kept]
    return _sorted_words(tuple((slot, word) for slot, word in names), scores)


def _sorted_words(words: Sequence[tuple[str, str]], scores: Tensor) -> tuple[Word, ...]:
    found = [Word(slot, word, float(score)) for (slot, word), score in zip(words, scores, strict=True)]
    return tuple(sorted(found, key=lambda word: (-word.score, word.slot, word.word)))


def write_prompt(
    anchor: Mapping[str, str],
    taste: Sequence[Word],
    *,
    companion: Mapping[str, str] | None = None,
    scene: str | None = None,
    person: str = "a person",
    complete: bool = True,
) -> Prompt:
    """Write what this taste would like to see: "a person wearing a red striped t-shirt and blue trousers on a beach".

    anchor: words of the item to show; a kind that cannot be worn here gives way to the taste's best. companion: words
    of a garment for the other half of the body; left out, it is composed from the taste, or where not `complete`, not
    spoken of. scene: left out, `scene_for` chooses. person: who wears it, such as "a sks person" where the model has
    learnt that subject.

    Raises:
        ConfigError: a scene that is not known.
    """
    scene = scene_for(anchor, taste) if scene is None else scene
    if scene not in SCENES:
        raise ConfigError(f"scene {scene!r} is unknown; use one of {', '.join(SCENES)}")
    kind = anchor.get("kind", "")
    kind = kind if kind in REGION else _best(taste, "kind", KINDS, default=KINDS[0])
    first = _filled({**anchor, "kind": kind}, taste)
    if REGION[kind] == "dress":
        return _prompt((first,), scene, person)
    if companion is None or REGION.get(companion.get("kind", "")) != _COUNTERPART[REGION[kind]]:
        if not complete:
            return _prompt((first,), scene, person)
        companion = _compose(_COUNTERPART[REGION[kind]], scene, taste, avoid=first.get("colour", ""))
    both = (first, _filled(companion, taste))
    return _prompt(both if REGION[kind] == "upper" else both[::-1], scene, person)


def _prompt(garments: tuple[dict[str, str], ...], scene: str, person: str) -> Prompt:
    text = f"{person} wearing {' and '.join(garment_phrase(words) for words in garments)} {SCENE_PHRASE[scene]}"
    return Prompt(text, garments, scene)


def _best(taste: Sequence[Word], slot: str, allowed: Sequence[str], *, default: str) -> str:
    return next((word.word for word in taste if word.slot == slot and word.word in allowed), default)


def scene_for(anchor: Mapping[str, str], taste: Sequence[Word], *, variant: int = 0) -> str:
    """Choose a scene: the taste's best for variant 0, its second for 1, and so on, as long as they are meant at all.

    A taste without scenes leaves it to the item's own scene, and that failing, to the studio.
    """
    known = [word for word in taste if word.slot == "scene" and word.word in SCENES]
    meant = [word.word for word in known if word.score > 0] or [word.word for word in known[:1]]
    if meant:
        return meant[variant % len(meant)]
    own = anchor.get("scene", "")
    return own if own in SCENES else SCENES[0]


def completes(words: Mapping[str, str], anchor: Mapping[str, str], scene: str) -> bool:
    """Tell whether a garment goes with another: on the other half of the body, and not out of place in the scene."""
    kind, region = words.get("kind", ""), REGION.get(anchor.get("kind", ""), "")
    other = _COUNTERPART.get(region)
    return other is not None and REGION.get(kind) == other and kind not in OUT_OF_PLACE.get(scene, frozenset())


def _filled(words: Mapping[str, str], taste: Sequence[Word]) -> dict[str, str]:
    """Return kind, colour and pattern; the taste fills in an unknown colour, an unknown pattern is plain."""
    colour = words.get("colour") or _best(taste, "colour", tuple(COLOURS), default="")
    found = {"kind": words["kind"], "colour": colour, "pattern": words.get("pattern", "plain")}
    return {slot: word for slot, word in found.items() if word}


def _compose(region: str, scene: str, taste: Sequence[Word], *, avoid: str) -> dict[str, str]:
    """Return words for the other half of the body: the taste's best kind that suits the scene, another colour."""
    kinds = [kind for kind in KINDS if REGION[kind] == region]
    suited = [kind for kind in kinds if kind not in OUT_OF_PLACE.get(scene, frozenset())] or kinds
    plain = {"upper": "shirt", "lower": "trousers"}[region]
    kind = _best(taste, "kind", suited, default=plain)
    colour = _best(
        taste, "colour", [name for name in COLOURS if name != avoid], default="blue" if avoid != "blue" else "white"
    )
    return {"kind": kind, "colour": colour, "pattern": PATTERNS[0]}


def explain(
    item: int, history: Sequence[int], vectors: Tensor, taste: Sequence[Word], catalog: Catalog
) -> tuple[Reason, ...]:
    """Say why an item is shown: the two nearest past items, and up to three words of the taste that it carries.

    vectors (n+1, d): any item vectors in which near means alike; history: item ids, most recent last.
    """
    past = list(dict.fromkeys(id for id in reversed(history) if id != item))
    near = torch.nn.functional.cosine_similarity(vectors[past], vectors[item][None], dim=-1) if past else torch.empty(0)
    best = near.argsort(descending=True, stable=True)[:2].tolist()
    reasons = [Reason("past", garment_phrase(catalog.words(past[at])), float(near[at]), past[at]) for at in best]
    own = catalog.words(item)
    meant = [word for word in taste if own.get(word.slot) == word.word and word.score > MEANT][:3]
    return (*reasons, *(Reason("concept", f"{word.slot} {word.word}", word.score) for word in meant))


def with_scene(reasons: Sequence[Reason], scene: str, taste: Sequence[Word]) -> tuple[Reason, ...]:
    """Return the reasons of an item with the painted scene, where the taste knows it, in place of the item's own."""
    kept = [reason for reason in reasons if not (reason.source == "concept" and reason.text.startswith("scene "))]
    meant = [word for word in taste if (word.slot, word.word) == ("scene", scene)]
    return (*kept, *(Reason("concept", f"scene {scene}", word.score) for word in meant))


def in_a_line(reasons: Sequence[Reason]) -> str:
    """Say reasons for people: "like a red shirt that was chosen before; suits a taste for snow and stripes"."""
    near = [reason.text for reason in reasons if reason.source == "past"]
    meant = [reason.text.partition(" ")[2] for reason in reasons if reason.source == "concept"]
    said = [f"like {_listed(near)} chosen before"] if near else []
    said += [f"suits a taste for {_listed(meant)}"] if meant else []
    return "; ".join([*said, *(reason.text for reason in reasons if reason.source == "note")])


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
