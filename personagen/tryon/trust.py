"""Say how far a try-on can be trusted, before it is painted: a score, and which of the two photos is the trouble.

What is known before anything is painted is measured: how sure the person was read, how well the garment has the shape
of its kind, what of the old garment would show, and what would have to be invented. A logistic function of these, whose
weights are of one sign, was fitted to marks that were given by eye to results on other photos (`benchmarks/trust.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..images import blur, components, dilate, erode, to_tensor
from ..person.body import Body
from ..person.joints import Joint, trunk_of
from ..person.parts import CLOTHES, Part, region_of
from ..warping.drape import cloth_of
from ..warping.first_guess import Guess
from ..warping.garment_shape import cut_of

THRESHOLD = 0.54
"""Score below which a result is not to be shown unasked."""
SMALL = 400
"""Longest side in pixels at which areas are measured."""
NEAR = 0.012
"""Of the person's height: least height of a strip of background between two garments."""
SEEN = 0.2
"""Share of a garment that is to be seen under what is worn over it."""
RAGS = 0.035
"""Of a picture's height: what is finer than this of an outline is a rag."""
MOST = 1.5
"""Most that a fact counts."""
Facts = dict[str, float]
"""What was measured, each 0 where nothing is wrong."""
BIAS = 3.44
WEIGHTS = {
    "unsure": 4.17, "crossed": 0.59, "turned": 1.73, "unlike": 5.05, "ragged": 87.3, "doubt": 0.59, "cut_off": 0.15,
    "holes": 28.35, "strip": 0.42, "exposed": 1.79, "bare": 0.56, "limbs": 0.26, "fused": 1.29, "changed": 1.39,
    "hidden": 12.0, "uncut": 8.0,
}  # fmt: skip
"""What each fact takes from the logit. The last two were not fitted but set: a garment that is hidden or not cut out
is never let through."""
USUAL = {
    "unsure": 0.293, "crossed": 0.069, "turned": 0.019, "unlike": 0.097, "ragged": 0.004, "doubt": 0.064,
    "cut_off": 0.049, "bare": 0.188, "strip": 0.031, "limbs": 0.245, "fused": 0.023,
}  # fmt: skip
"""Means of facts over the results that were marked: what is more than this is the trouble."""
CLEAR = 0.35
"""By how much more than usual, of the logit, a fact must lower the score to be called the trouble."""
NEITHER = "neither photo alone"
UNCLEAR = (
    "so large a change of clothes seldom comes out well; try a smaller garment, or one that looks like the old one"
)
"""What is said where no fact stands out: how much is changed, and how much of the new outline shows, takes most."""
PERSON = "the photo of the person"
GARMENT = "the photo of the garment"
BARE = "too much that the old garment hides would have to be invented; wear something shorter, without a coat"
REMEDIES = {
    "unsure": (PERSON, "arms and legs are not clearly seen; stand upright before a plain background, in good light"),
    "doubt": (PERSON, "clothes cannot be told from hair, skin or background; wear something in another colour"),
    "cut_off": (PERSON, "the new garment does not fit over the old one; wear something close-fitting"),
    "bare": (PERSON, BARE),
    "limbs": (PERSON, BARE),
    "fused": (PERSON, "the legs cannot be told apart; stand with the feet apart, in trousers, not in a skirt"),
    "holes": (PERSON, "something is before the body; let arms and bags hang beside it"),
    "hidden": (PERSON, "a coat or long top hides where the garment would be; take it off"),
    "crossed": (PERSON, "arms are before the body; let them hang beside it"),
    "turned": (PERSON, "the person is turned to the side; stand facing the camera"),
    "strip": (PERSON, "there is a gap between top and bottom; wear a top that reaches to the waist"),
    "unlike": (GARMENT, "its outline is not that of its kind; lay it flat, whole, with sleeves or legs spread, and say "
                        "what it is (--kind)"),
    "ragged": (GARMENT, "its outline is ragged; lay it on one plain colour that is unlike its own"),
    "uncut": (GARMENT, "it cannot be told from its background; lay it on one plain colour, best white"),
}  # fmt: skip
"""By fact: which photo is the trouble, and what would help."""


@dataclass(frozen=True)
class Trust:
    """How far a result can be trusted: a score from 0 to 1, the garment's kind, and what was measured."""

    score: float
    kind: str
    facts: Mapping[str, float]

    @property
    def low(self) -> bool:
        """Whether the result is not to be shown unasked."""
        return self.score < THRESHOLD

    @property
    def worst(self) -> str | None:
        """Name the fact that takes most from the score, of those that have a remedy; None where none does clearly more
        than it usually does."""
        more = {name: WEIGHTS[name] * (self.facts.get(name, 0.0) - USUAL.get(name, 0.0)) for name in REMEDIES}
        first = max(more, key=more.__getitem__)
        return first if more[first] >= CLEAR else None

    @property
    def trouble(self) -> str | None:
        """Name the photo that is the trouble; None where neither clearly is."""
        return None if self.worst is None else REMEDIES[self.worst][0]

    @property
    def remedy(self) -> str:
        """Say what would help."""
        return UNCLEAR if self.worst is None else REMEDIES[self.worst][1]

    def because(self, person: str = PERSON, garment: str = GARMENT) -> str:
        """Say which of two photos, by their names, is the trouble, what would help, and how low the score is."""
        photo = {PERSON: person, GARMENT: garment}.get(self.trouble or "", NEITHER)
        return f"{photo} is the trouble: {self.remedy} (trust {self.score:.2f}, at least {THRESHOLD:.2f} is asked for)"

    @property
    def line(self) -> str:
        """Say the score, and where it is low which photo is the trouble and what would help."""
        if not self.low:
            return f"Trust: {self.score:.2f}."
        return f"Trust: {self.score:.2f}. {(self.trouble or NEITHER).capitalize()} is the trouble: {self.remedy}."


Judge = Callable[[Trust], None]
"""Takes the trust in a result before it is painted; may raise, so that it never is."""


def lowest(trusts: Sequence[Trust]) -> str:
    """Return the line of the least trusted of several results; empty for none."""
    return min(trusts, key=lambda one: one.score).line if trusts else ""


def trust_of(facts: Facts, *, kind: str) -> Trust:
    """Return the trust in a result of which these facts are known."""
    doubt = sum(weight * facts.get(name, 0.0) for name, weight in WEIGHTS.items())
    return Trust(float(1 / (1 + np.exp(doubt - BIAS))), kind, facts)


def facts_of(body: Body, garment: Image.Image, kind: str, guess: Guess | None) -> Facts:
    """Measure a garment that was laid on a body; guess: None where it could not be, as it is not cut out."""
    if guess is None:
        return {"uncut": 1.0}
    found = {**_of_person(body, kind), **_of_garment(garment, kind), **_of_guess(body, kind, guess)}
    return {name: float(np.clip(value, 0, MOST)) for name, value in found.items()}


def _of_person(body: Body, kind: str) -> Facts:
    """How sure the person was read, and how they stand."""
    assert body.joints is not None
    names = ("HIP", "KNEE", "ANKLE") if region_of(kind) == "lower" else ("SHOULDER", "ELBOW", "WRIST", "HIP")
    joints, trunk = body.joints, trunk_of(body.joints)
    seen = [joints[Joint[f"{side}_{name}"], 2] for name in names for side in ("LEFT", "RIGHT")]
    across = np.hypot(*(joints[Joint.LEFT_SHOULDER, :2] - joints[Joint.RIGHT_SHOULDER, :2])) / trunk.tall
    crossed = 0.0
    for side in ("LEFT", "RIGHT"):
        wrist = joints[Joint[f"{side}_WRIST"], :2]
        high = np.clip((trunk.hips - wrist) @ trunk.down / trunk.tall + 0.15, 0, 1)
        aside = abs((wrist - trunk.shoulders) @ trunk.aside) / (0.5 * trunk.across)
        crossed += float(high * np.clip(1.2 - aside, 0, 1))
    return {"unsure": float(1 - np.mean(seen)), "crossed": crossed, "turned": float(np.clip(0.62 - across, 0, 0.4))}


def _of_garment(garment: Image.Image, kind: str) -> Facts:
    """How far a garment is from having the outline of its kind, and from a smooth one."""
    cloth = cloth_of(to_tensor(garment.convert("RGB"))[0] * 2 - 1)
    step = max(1, round(max(cloth.shape) / SMALL))
    small = cloth[:, ::step, ::step]
    even = blur(small[None].float(), kernel=round(RAGS * small.shape[1]) // 2 * 2 + 1)[0] > 0.5
    ragged = float((small ^ even).sum() / small.sum().clamp(min=1))
    return {"unlike": float(1 - cut_of(cloth[0].numpy(), kind).overlap), "ragged": ragged}


def _of_guess(body: Body, kind: str, guess: Guess) -> Facts:
    """What shows of the old garment, what is invented, and what of the new one is missing."""
    step = max(1, round(max(body.parts.shape) / SMALL))
    small = lambda plane: plane[..., step // 2 :: step, step // 2 :: step]
    parts, mask, bare = small(body.parts), small(guess.mask), small(guess.bare)
    laid = small(np.asarray(guess.picture.getchannel("A"))) > 127
    old, over = small(body.comes_off(kind)), small(body.stays_over(kind))
    arms, hands, *_ = (small(plane) for plane in body.skin)
    before = np.isin(parts, (Part.HEAD, Part.CARRIED, Part.SHOES)) | hands
    shown, area = laid & mask, max(1, laid.sum())
    tall = max(1, np.count_nonzero((parts != Part.BACKGROUND).any(1)))
    near = max(1, round(NEAR * tall))
    doubtful = old & small(body.faint) if body.faint is not None else np.zeros_like(old)
    others = np.isin(parts, CLOTHES) & ~old & ~over & ~shown
    assert body.joints is not None
    return {
        "doubt": float(doubtful.sum() / max(1, old.sum())),
        "cut_off": float((laid & ~mask & ~before & ~over).sum() / area),
        "bare": float((bare & ~laid).sum() / max(1, shown.sum())),
        "holes": _holes(shown, before | arms),
        "hidden": float(np.clip(SEEN - (shown.sum() / area), 0, 1)) if over.any() else 0.0,
        "strip": strip_of(shown, others, bare & ~shown, near),
        "exposed": exposed(shown, before | over),
        "limbs": float((old & mask & ~laid & ~bare).sum() / max(1, shown.sum())),
        "fused": fused(shown, body.joints[:, :2] / step) if kind == "trousers" else 0.0,
        "changed": float(10 * (mask & (laid | old)).sum() / parts.shape[0] ** 2),
    }


def _holes(shown: np.ndarray, before: np.ndarray) -> float:
    """Area of what a garment (h, w) encloses without showing there, but for what is before it, as a share of it."""
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    if rows.size == 0:
        return 0.0
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    inside, open_ = shown[box], ~shown[box] & ~before[box]
    holes = [one for one in components(open_) if not (one[0].any() or one[-1].any() or one[:, 0].any()
                                                      or one[:, -1].any())]  # fmt: skip
    return float(sum(one.sum() for one in holes) / max(1, inside.sum()))


def exposed(laid: np.ndarray, before: np.ndarray) -> float:
    """Share of a garment's outline, bool (h, w), that nothing covers, such as an open coat: where its own edges show;
    before (h, w): what is before it."""
    outline = laid & ~erode(laid, up=1, down=1, side=1)
    hidden = dilate(before, up=2, down=2, side=2)
    return float((outline & ~hidden).sum() / max(1, outline.sum()))


def fused(laid: np.ndarray, joints: np.ndarray) -> float:
    """Share of the rows from knees to ankles in which trousers, bool (h, w), show no gap between two legs; joints
    (13, 2)."""
    legs = [joints[[Joint[f"{side}_{name}"] for name in ("KNEE", "ANKLE")]] for side in ("LEFT", "RIGHT")]
    first, last = (int(np.mean([leg[at, 1] for leg in legs])) for at in (0, 1))
    closed = rows = 0
    for row in range(max(first, 0), min(last, len(laid))):
        ends = sorted(float(np.interp(row, leg[:, 1], leg[:, 0])) for leg in legs)
        between = laid[row, max(0, int(ends[0])) : int(ends[1]) + 1]
        if laid[row].any() and between.size:
            rows, closed = rows + 1, closed + bool(between.all())
    return closed / max(1, rows)


def strip_of(garment: np.ndarray, others: np.ndarray, bare: np.ndarray, near: int) -> float:
    """Share of a garment's columns in which only background lies between it and other clothes, bool (h, w) each.

    near: pixels that a strip is high, at least; one that is higher than the garment is none.
    """
    found = 0
    columns = np.flatnonzero(garment.any(0) & others.any(0))
    for column in columns:
        own, other = np.flatnonzero(garment[:, column]), np.flatnonzero(others[:, column])
        gap = (own[-1] + 1, other[0]) if other[0] > own[-1] else (other[-1] + 1, own[0])
        high = gap[1] - gap[0]
        found += near <= high <= own[-1] - own[0] and bare[gap[0] : gap[1], column].mean() > 0.5
    return float(found / max(1, columns.size))
