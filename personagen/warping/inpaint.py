"""Complete a picture where something was taken off: each patch of the hole is to look like one of what is known.

Coarse to fine, two steps in turn (Wexler, Shechtman and Irani, Space-Time Completion of Video, PAMI 2007): find the
nearest known patch of each patch over the hole, by PatchMatch (Barnes et al., SIGGRAPH 2009: neighbours' finds moved by
one step, and random ones), then let every pixel be the mean of what the patches over it say.
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..images import dilate, erode, to_pil, to_tensor

RADIUS = 3
"""Patches have 2 * RADIUS + 1 pixels a side."""
INNER = (slice(RADIUS, -RADIUS), slice(RADIUS, -RADIUS))
"""A picture without a border of that width."""
COARSEST = 40
"""Longest side in pixels of the first level, about: small enough that a patch sees a large share of the picture."""
FINEST = 240
"""Longest side in pixels of the last level."""
FACTOR = 1.6
"""How much larger each next level is."""
ROUNDS = (12, 8, 5, 3)
"""Rounds of both steps at each level, the last number for all further ones."""
LEVEL = 0.2
"""Cost of a source that is the picture's height higher or lower, as a mean squared difference: streets lie in rows."""
TOLERANCE = 0.003
"""Mean squared difference at which what a patch says counts e^-1."""
INWARD = 1.2
"""How much less a pixel counts than the one that is a step nearer to what is known."""


def complete(photo: Image.Image, known: np.ndarray, hole: np.ndarray, *, seed: int = 0) -> Image.Image | None:
    """Fill the hole, bool (H, W), of a photo from its known places, bool (H, W), at its own sharpness.

    Other places are neither filled nor looked at. Where no whole patch is known, averages are taken instead. None where
    nothing is known; a copy where there is nothing to fill.
    """
    if not hole.any():
        return photo.copy()
    rng, level = np.random.default_rng(seed), None
    last = np.array([photo.height, photo.width]) * min(1.0, FINEST / max(photo.size))
    steps = max(0, round(np.log(last.max() / COARSEST) / np.log(FACTOR)))
    shares = [_shrunk(mask.astype(np.float32), last) for mask in (known, hole)]
    small = photo.resize(shares[0].shape[::-1], Image.Resampling.BOX)
    for at in range(steps + 1):
        sure, empty = (_shrunk(share, last * FACTOR ** (at - steps)) for share in shares)
        picture = np.asarray(small.resize(sure.shape[::-1], Image.Resampling.BOX), np.float32) / 255
        finer = _Level(picture, sure > 0.99, empty > 0)
        if finer.choices.size and finer.targets.size:
            finer.start(level, rng)
            for _ in range(ROUNDS[min(at, len(ROUNDS) - 1)]):
                finer.search(rng)
                finer.blend()
            level = finer
    if level is not None:
        return _sharp(photo, hole, level)
    average = smooth(photo, known)
    return None if average is None else Image.composite(average, photo, Image.fromarray(hole))


def smooth(photo: Image.Image, known: np.ndarray) -> Image.Image | None:
    """Let the colours of the known places, bool (H, W), run over a whole photo; None where there are none."""
    shrink = min(1.0, 2 * FINEST / max(photo.size))
    size = (max(1, round(photo.width * shrink)), max(1, round(photo.height * shrink)))
    small = to_tensor(photo.resize(size, Image.Resampling.BOX))[0]
    found = spread(small, np.array(Image.fromarray(known).resize(size, Image.Resampling.NEAREST)))
    return None if found is None else to_pil(found[None])[0].resize(photo.size, Image.Resampling.BICUBIC)


def spread(picture: Tensor, known: np.ndarray) -> Tensor | None:
    """Fill a picture (3, H, W) from the places that are known, bool (H, W), smoothly; None where there are none.

    Averages of growing size (push and pull: Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.4).
    """
    if not known.any():
        return None
    weight = torch.from_numpy(known)[None, None].float()
    levels = [(picture[None] * weight, weight)]
    while max(levels[-1][1].shape[2:]) > 1:
        colour, weight = (F.avg_pool2d(one, 2, ceil_mode=True, count_include_pad=False) for one in levels[-1])
        levels.append((colour, weight))
    filled = levels[-1][0] / levels[-1][1].clamp(min=1e-8)
    for colour, weight in reversed(levels[:-1]):
        finer = F.interpolate(filled, size=weight.shape[2:], mode="bilinear", align_corners=False)
        sure = (weight * 16).clamp(max=1)
        filled = finer + sure * (colour / weight.clamp(min=1e-8) - finer)
    return filled[0]


def _shrunk(share: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Means of a plane (H, W) in the cells of a grid of about `size` (height, width)."""
    height, width = np.maximum(1, np.round(size)).astype(int).tolist()
    return np.asarray(Image.fromarray(share).resize((width, height), Image.Resampling.BOX))


def _sharp(photo: Image.Image, hole: np.ndarray, level: "_Level") -> Image.Image:
    """Enlarge what a level found, and add what its sources have in the photo that is finer."""
    inner = level.filled()
    enlarge = lambda small: np.asarray(small.resize(photo.size, Image.Resampling.BICUBIC)).astype(np.int16)
    filled = enlarge(Image.fromarray((inner * 255 + 0.5).clip(0, 255).astype(np.uint8)))
    picture = np.array(photo)
    coarse = enlarge(photo.resize(inner.shape[1::-1], Image.Resampling.BOX))
    rows, cols = np.nonzero(hole)
    scale = np.array(inner.shape[:2]) / hole.shape
    up, left = level.offsets((rows * scale[0]).astype(int), (cols * scale[1]).astype(int))
    there = ((rows + up / scale[0]).astype(int).clip(0, photo.height - 1),
             (cols + left / scale[1]).astype(int).clip(0, photo.width - 1))  # fmt: skip
    picture[rows, cols] = (filled[rows, cols] + picture[there] - coarse[there]).clip(0, 255)
    return Image.fromarray(picture)


class _Level:
    """One size of the picture (H, W, 3), with a border of RADIUS; sources are places of patches' centres by number."""

    def __init__(self, picture: np.ndarray, known: np.ndarray, hole: np.ndarray) -> None:
        border = ((RADIUS, RADIUS), (RADIUS, RADIUS))
        self.picture = np.pad(picture, (*border, (0, 0)), mode="edge")
        self.known, self.hole = np.pad(known & ~hole, border), np.pad(hole, border)
        self.height, self.width = self.known.shape
        reach = {"up": RADIUS, "down": RADIUS, "side": RADIUS}
        inside = np.pad(np.ones(known.shape, bool), border)
        self.allowed = (erode(self.known, **reach) & inside).ravel()
        self.choices = np.flatnonzero(self.allowed)
        self.targets = np.flatnonzero(dilate(self.hole, **reach) & inside)
        steps = np.arange(-RADIUS, RADIUS + 1)
        self.around = (steps[:, None] * self.width + steps).ravel()
        trust = self._trust().ravel()
        self.trust = trust[self.targets]
        self.weight = trust[self.targets[:, None] + self.around]
        self.weight /= self.weight.sum(1, keepdims=True).clip(1e-6)
        self.sources = np.full(self.known.size, -1)
        self.best = np.zeros(self.targets.size, np.float32)

    def _trust(self) -> np.ndarray:
        """How much each pixel counts: 1 where it is known, less with each step into the hole, 0 elsewhere."""
        trust, reached, weight = self.known.astype(np.float32), self.known, 1.0
        while weight > 0.02:
            grown, weight = dilate(reached, up=1, down=1, side=1), weight / INWARD
            trust[grown & ~reached & self.hole] = weight
            reached = grown
        return np.where(self.hole, trust.clip(weight), trust)

    def inner(self) -> np.ndarray:
        """The picture without its border."""
        return self.picture[INNER]

    def filled(self) -> np.ndarray:
        """The picture without its border, and what is neither known nor filled made like what is beside it."""
        sure = (self.known | self.hole)[INNER]
        return np.where(sure[..., None], self.inner(), self._averages(sure))

    def _averages(self, sure: np.ndarray) -> np.ndarray:
        """The colours of some places, bool (h, w), run over the picture without its border."""
        average = spread(torch.from_numpy(self.inner()).permute(2, 0, 1), sure)
        assert average is not None
        return average.permute(1, 2, 0).numpy()

    def offsets(self, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far down and right of places (n,), without the border, their sources lie."""
        at = (rows + RADIUS) * self.width + cols + RADIUS
        sources = np.where(self.sources[at] < 0, at, self.sources[at])
        return sources // self.width - at // self.width, sources % self.width - at % self.width

    def start(self, coarser: "_Level | None", rng: np.random.Generator) -> None:
        """Begin with what a coarser level found, or with averages and random sources."""
        self.sources[self.targets] = rng.choice(self.choices, self.targets.size)
        inner, hole = self.inner(), self.hole[INNER]
        if coarser is None:
            inner[hole] = self._averages(self.known[INNER])[hole]
            return
        size = inner.shape[1::-1]
        for channel in range(3):
            plane = Image.fromarray(np.ascontiguousarray(coarser.inner()[..., channel]))
            inner[..., channel][hole] = np.asarray(plane.resize(size, Image.Resampling.BILINEAR))[hole]
        tall, wide = coarser.inner().shape[:2]
        scale = inner.shape[0] / tall, inner.shape[1] / wide
        rows, cols = self.targets // self.width - RADIUS, self.targets % self.width - RADIUS
        up, left = coarser.offsets((rows / scale[0]).astype(int).clip(0, tall - 1),
                                   (cols / scale[1]).astype(int).clip(0, wide - 1))  # fmt: skip
        found = self._numbers(rows + np.round(up * scale[0]), cols + np.round(left * scale[1]))
        fits = self.allowed[found]
        self.sources[self.targets[fits]] = found[fits]

    def _numbers(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Numbers of the places that are nearest to these rows and columns, without the border."""
        rows = rows.astype(int).clip(0, self.height - 2 * RADIUS - 1) + RADIUS
        return rows * self.width + cols.astype(int).clip(0, self.width - 2 * RADIUS - 1) + RADIUS

    def _cost(self, at: np.ndarray, sources: np.ndarray) -> np.ndarray:
        """Mean squared difference between the patches of the targets `at` (n,) and allowed sources (n,)."""
        flat = self.picture.reshape(-1, 3)
        mine = flat.take(self.targets[at][:, None] + self.around, axis=0)  # three times as fast as an index
        mine -= flat.take(sources[:, None] + self.around, axis=0)
        rows = (self.targets[at] // self.width - sources // self.width) / self.height
        return np.einsum("npc,npc,np->n", mine, mine, self.weight[at]) / 3 + LEVEL * rows**2

    def search(self, rng: np.random.Generator) -> None:
        """Find better sources: those of neighbours, moved by the step to them, and random ones ever nearer."""
        everyone = np.arange(self.targets.size)
        self.best = self._cost(everyone, self.sources[self.targets])

        def try_out(candidates: np.ndarray) -> None:
            at = np.flatnonzero(self.allowed[candidates] & (candidates != self.sources[self.targets]))
            cost = self._cost(at, candidates[at])
            less = cost < self.best[at]
            better = at[less]
            self.best[better] = cost[less]
            self.sources[self.targets[better]] = candidates[better]

        for step in (-1, 1, -self.width, self.width):
            neighbours = self.sources[self.targets + step]
            try_out(np.where(neighbours < 0, 0, neighbours - step))
        reach = max(self.height, self.width) / 2
        while reach >= 1:
            places = self.sources[self.targets]
            moved = rng.uniform(-reach, reach, (2, places.size))
            try_out(self._numbers(places // self.width - RADIUS + moved[0], places % self.width - RADIUS + moved[1]))
            reach /= 3

    def blend(self) -> None:
        """Let each pixel of the hole be the mean of what the patches over it say, weighed by how well they fit."""
        flat = self.picture.reshape(-1, 3)
        weights = (np.exp(-self.best / TOLERANCE) * self.trust).clip(1e-6)
        where = (self.targets[:, None] + self.around).ravel()
        weight = np.repeat(weights, self.around.size)
        colours = flat.take((self.sources[self.targets][:, None] + self.around).ravel(), axis=0)
        total, hole = np.bincount(where, weight, minlength=len(flat)), self.hole.ravel()
        for channel in range(3):
            sums = np.bincount(where, weight * colours[:, channel], minlength=len(flat))
            flat[hole, channel] = sums[hole] / total[hole].clip(1e-9)
