"""A person as a photo shows them, read once: body parts, joints, and, as a function of both, what may be repainted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from PIL import Image

from recsys.errors import DataError

from ..images import dilate
from .joints import Joint
from .masks import agnostic_mask, guarded, layers_from_parts, over_it, shown_below
from .parts import Part, Skin, region_of, split_skin

WORKING = 1200
"""Longest side in pixels at which masks are found: a parser draws edges no finer (`parser.FINEST`), and a photo of
2,800 x 4,200 pixels would take gigabytes."""
NEAR = 0.012
"""Of the photo's height: how far around the old top a new one shows under an open coat."""
KEPT = (Part.HEAD, Part.SHOES, Part.CARRIED)
"""Parts that no mask that is found may cover, at the photo's own size either."""

Known = Callable[[str], np.ndarray | None]
"""From a garment's kind to a mask (H, W) that is there already, or None where it must be found."""


@dataclass(frozen=True)
class Inner:
    """A body that was read in a part of a photo: its left, top, right and bottom in pixels, the last two excluded."""

    body: "Body"
    box: tuple[int, int, int, int]

    def of(self, plane: np.ndarray) -> np.ndarray:
        """Cut the part out of a plane (H, W) of the photo."""
        left, top, right, bottom = self.box
        return plane[top:bottom, left:right]

    def laid(self, plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Put a plane of the part back into one of the photo of `size` (H, W), which is empty otherwise."""
        whole = np.zeros(size, plane.dtype)
        self.of(whole)[:] = plane
        return whole


@dataclass(frozen=True)
class Body:
    """What a parser or a renderer says of one photo of (H, W) pixels.

    parts: uint8 `Part` values (H, W). joints: `Joint`s (13, 3), column and row in pixels and probability, or None where
    the parser finds none. might: bool (3, H, W), where head, skin and shoes are possible; faint: bool (H, W), where one
    of these cannot be ruled out; None for parts that are exact. known: masks from a file or a renderer, which are taken
    as they are; an empty one says that a kind cannot be worn.
    """

    parts: np.ndarray
    joints: np.ndarray | None = None
    might: np.ndarray | None = None
    faint: np.ndarray | None = None
    known: Known | None = None
    others: np.ndarray | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    inner: Inner | None = None
    _masks: dict[tuple[str, float], np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def skin(self) -> Skin:
        """Arms, hands, legs and head, bool (H, W) each."""
        return split_skin(self.parts)

    def mask(self, kind: str, *, expand: float = 1.0) -> np.ndarray:
        """Return what may be repainted for a garment of `kind`: bool (H, W), found once for each kind and `expand`.

        kind: a kind of the vocabulary or a region; expand 0..4: how far a mask that is found goes beyond the old
        garment.

        Raises:
            DataError: nothing to repaint is found, or the masks that are known have none for this kind.
            ConfigError: the kind is unknown or `expand` out of range.
        """
        at = (kind, expand)
        if at not in self._masks:
            known = None if self.known is None else self.known(kind)
            self._masks[at] = self._found(kind, expand) if known is None else known
        mask = self._masks[at]
        if not mask.any() or mask.all():
            height, width = self.parts.shape
            raise DataError(
                f"no garment or limb for kind {kind!r} was found in {width}x{height} pixels; give a photo of one "
                "standing person, or a mask of your own"
            )
        return mask

    def wears(self, kind: str) -> bool:
        """Tell whether there is a mask for a garment of `kind`, so that it can be put on."""
        try:
            self.mask(kind)
        except DataError:
            return False
        return True

    def comes_off(self, kind: str) -> np.ndarray:
        """Mark what a garment of `kind` replaces, bool (H, W): the old one, but not what may stay below its hem.

        Legs and long trousers stay below a dress; what ends above the middle of the shin, as skirts and shorts do,
        comes off with the rest, since it would show beside the dress.
        """
        if self.inner is not None:
            return self.inner.laid(self.inner.body.comes_off(kind), self.parts.shape[:2])
        old = layers_from_parts(self.parts, kind=kind, skin=self.skin).garment
        stays = shown_below(self.parts, kind=kind, skin=self.skin)
        lower = self.parts == Part.LOWER
        if region_of(kind) == "dress" and not self._reaches_the_shins(lower):
            stays = stays & ~lower
        return old & ~stays

    def stays_over(self, kind: str) -> np.ndarray:
        """Mark what is worn over a garment of `kind` and stays, bool (H, W): a top over trousers, an open coat."""
        if self.inner is not None:
            return self.inner.laid(self.inner.body.stays_over(kind), self.parts.shape[:2])
        return over_it(self.parts, kind=kind)

    def _reaches_the_shins(self, cloth: np.ndarray) -> bool:
        """Tell whether cloth (H, W) hangs below the middle of the shins; yes where joints are unknown."""
        if self.joints is None or not cloth.any():
            return True
        knees, ankles = (
            self.joints[[Joint[f"LEFT_{name}"], Joint[f"RIGHT_{name}"]], 1].mean() for name in ("KNEE", "ANKLE")
        )
        return bool(np.flatnonzero(cloth.any(1))[-1] > (knees + ankles) / 2)

    def fixed(self, kind: str) -> bool:
        """Tell whether the mask of a kind is known, so that nothing may change beyond it."""
        return self.known is not None and self.known(kind) is not None

    def with_mask(self, kind: str, mask: np.ndarray) -> "Body":
        """Return this body with a mask of one's own (H, W) for `kind`; those of other kinds are as before."""
        before, inner = self.known, self.inner
        if inner is not None:  # a mask that goes beyond the part is one of the whole photo
            within = bool(mask.any()) and inner.of(mask).sum() == mask.sum()
            inner = replace(inner, body=inner.body.with_mask(kind, inner.of(mask))) if within else None
        return replace(self, known=lambda other: mask if other == kind else before and before(other), inner=inner)

    def lays(self, kind: str) -> bool:
        """Tell whether a garment of a kind can be laid along the joints: enough of the person is seen for it."""
        return self.joints is not None and region_of(kind) not in self.refused

    def _found(self, kind: str, expand: float) -> np.ndarray:
        if (why := self.refused.get(region_of(kind))) is not None:
            raise DataError(why)
        if self.inner is not None:
            return self.inner.laid(self.inner.body.mask(kind, expand=expand), self.parts.shape[:2])
        if max(self.parts.shape) > WORKING:
            return self._enlarged(self._reduced._found(kind, expand))
        layers = layers_from_parts(self.parts, kind=kind, skin=self.skin)
        if self.might is not None and self.faint is not None:
            layers = guarded(layers, self.parts, self.might, self.faint, skin=self.skin)
        mask = agnostic_mask(layers, mask_expand=expand)
        if region_of(kind) == "upper" and self.stays_over(kind).any():  # nothing shows beyond an open coat
            near = max(1, round(NEAR * self.parts.shape[0]))
            mask &= dilate(layers.garment, up=near, down=near, side=near)
        return mask if self.others is None else mask & ~self.others

    @cached_property
    def _reduced(self) -> "Body":
        """This body at `WORKING` pixels at most: every so many rows and columns."""
        step = -(-max(self.parts.shape) // WORKING)
        fewer = lambda plane: None if plane is None else plane[..., step // 2 :: step, step // 2 :: step]
        joints = None if self.joints is None else self.joints / [step, step, 1.0]
        return replace(
            self, parts=fewer(self.parts), joints=joints, might=fewer(self.might), faint=fewer(self.faint),
            others=fewer(self.others), known=None, inner=None,
        )  # fmt: skip

    def _enlarged(self, mask: np.ndarray) -> np.ndarray:
        """Bring a mask of the reduced body to the photo's size (H, W), without what must stay."""
        height, width = self.parts.shape
        grey = Image.fromarray(mask).convert("L").resize((width, height), Image.Resampling.BILINEAR)
        stays = np.zeros(256, bool)
        stays[list(KEPT)] = True
        large = (np.asarray(grey) >= 128) & ~stays[self.parts]
        return large if self.others is None else large & ~self.others
