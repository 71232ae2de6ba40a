"""Measure a try-on model on pairs: likeness to the photo, the swap test, and whether the person is left alone.

Every case is measured at the model's size. SSIM, L1 and PSNR need the garment worn (paired); the swap test dresses
each person in another pair's garment of the same kind as well and asks whether the colours follow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from recsys.errors import DataError

from ..corpora.pairs import WornPair, load_pair
from ..images import fit, to_tensor
from .fid import Features, frechet_distance, kernel_distance
from .fidelity import bootstrap_interval, l1, psnr, ssim, takes_the_colours
from .lpips import Distance

CENTRE = 0.7
"""Share of the mask, nearest to its middle, whose colours the swap test reads: there the garment is sure to be."""


@dataclass(frozen=True)
class Case:
    """One measured pair: its figures, and its pictures at the model's size for a contact sheet."""

    key: str
    figures: dict[str, float]
    pictures: tuple[Image.Image, ...]
    """Person, garment, result."""


def evaluate_tryon(
    pipeline: Any,
    pairs: Sequence[WornPair],
    *,
    paired: bool = True,
    num_inference_steps: int = 20,
    guidance_scale: float = 2.5,
    repaint: bool = True,
    lpips: Distance | None = None,
    seed: int = 0,
) -> Iterator[Case]:
    """Yield a Case for each pair, in order; the noise of a pair depends on `seed` and its place alone.

    lpips: from `load_lpips`; then paired figures have it too.
    figures: ssim, l1_inside, l1_outside, psnr_inside, psnr_outside (paired), identity (share of pixels outside the mask
    that are exactly the photo's), and, with two pairs or more, swap (1: the colours follow the garment) and its margin.

    Raises:
        DataError: there is no pair.
    """
    if not pairs:
        raise DataError("there is no pair to measure on; give a list with at least one")
    size = (int(pipeline.config["height"]), int(pipeline.config["width"]))
    for at, pair in enumerate(pairs):
        person, garment, mask = _fitted(pair, size)
        other = _other(pairs, at)
        garments = [garment] if other is None else [garment, _fitted(other, size)[1]]
        noise = [torch.Generator().manual_seed(seed * 1_000_003 + at) for _ in garments]
        results = pipeline(
            person, garments, mask, num_inference_steps=num_inference_steps, guidance_scale=guidance_scale,
            repaint=repaint, generator=noise,
        ).images  # fmt: skip
        figures = _likeness(results[0], person, mask, paired=paired)
        if paired and lpips is not None:
            figures["lpips"] = float(lpips(to_tensor(results[0]), to_tensor(person)))
        if other is not None:
            figures |= _swap(results, garments, mask)
        yield Case(pair.key, figures, (person, garment, results[0]))


def _fitted(pair: WornPair, size: tuple[int, int]) -> tuple[Image.Image, Image.Image, np.ndarray]:
    person, garment, mask = load_pair(pair)
    grey = Image.fromarray(mask).convert("L")
    small = fit(grey, size=size, fill=0, resample=Image.Resampling.NEAREST)[0]
    return fit(person, size=size, fill="edge")[0], fit(garment, size=size)[0], np.asarray(small) > 127


def _other(pairs: Sequence[WornPair], at: int) -> WornPair | None:
    """The next pair of the same kind with another garment, for the swap test."""
    turns = [*pairs[at + 1 :], *pairs[:at]]
    return next((p for p in turns if p.kind == pairs[at].kind and p.garment != pairs[at].garment), None)


def _likeness(result: Image.Image, person: Image.Image, mask: np.ndarray, *, paired: bool) -> dict[str, float]:
    a, b, marked = to_tensor(result), to_tensor(person), torch.from_numpy(mask)[None, None].float()
    same = (a == b).all(dim=1, keepdim=True)
    figures = {"identity": float(same[marked == 0].float().mean()) if (marked == 0).any() else 1.0}
    parts: dict[str, Tensor] = {"outside": 1 - marked} if (marked == 0).any() else {}
    if paired:
        figures["ssim"], parts = float(ssim(a, b)), {"inside": marked, **parts}
    for name, part in parts.items():
        figures[f"l1_{name}"] = float(l1(a, b, mask=part))
        figures[f"psnr_{name}"] = min(99.0, float(psnr(a, b, mask=part)))
    return figures


def _swap(results: list[Image.Image], garments: list[Image.Image], mask: np.ndarray) -> dict[str, float]:
    region, (worn, swapped) = middle(mask), [np.asarray(picture) for picture in garments]
    first, margin = takes_the_colours(np.asarray(results[0]), region, worn, [swapped])
    second, other = takes_the_colours(np.asarray(results[1]), region, swapped, [worn])
    return {"swap": float(first and second), "swap_margin": min(margin, other)}


def middle(mask: np.ndarray) -> np.ndarray:
    """Keep the middle `CENTRE` of a mask's box in height, and half of it in width: bool (H, W) from bool (H, W)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    tall, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    up, side = round(tall * (1 - CENTRE) / 2), round(wide * 0.25)
    inner = np.zeros_like(mask)
    inner[rows[0] + up : rows[-1] + 1 - up, columns[0] + side : columns[-1] + 1 - side] = True
    return inner & mask if (inner & mask).any() else mask


def summarise(cases: Sequence[Case]) -> dict[str, dict[str, Any]]:
    """Mean, 95 % bootstrap interval and number of cases of each figure."""
    names = sorted({name for case in cases for name in case.figures})
    summary = {}
    for name in names:
        values = np.array([case.figures[name] for case in cases if name in case.figures])
        low, high = bootstrap_interval(values, generator=torch.Generator().manual_seed(0))
        summary[name] = {"mean": float(values.mean()), "interval": [low, high], "n": len(values)}
    return summary


def set_distances(cases: Sequence[Case], features: Features, *, batch: int = 16) -> dict[str, float]:
    """Return fid and kid between the results and the photos of people. DataError with fewer than two cases."""
    sides = []
    for place in (0, 2):
        pictures = [case.pictures[place] for case in cases]
        sides.append(torch.cat([features(pictures[at : at + batch]) for at in range(0, len(pictures), batch)]))
    return {"fid": frechet_distance(*sides), "kid": kernel_distance(*sides)}


def contact_sheet(cases: Sequence[Case], *, by: str, rows: int = 6) -> Image.Image:
    """Draw the worst cases by a figure on the left and the best on the right: person, garment, result, and the figure.

    by: a figure of which more is better, such as "ssim" or "swap_margin".
    """
    ranked = sorted((case for case in cases if by in case.figures), key=lambda case: case.figures[by])
    if not ranked:
        raise DataError(f"no case has the figure {by!r}; use one of {sorted(cases[0].figures) if cases else []}")
    worst, best = ranked[:rows], ranked[::-1][:rows]
    width, height = ranked[0].pictures[0].size
    sheet = Image.new("RGB", (6 * width + 40, len(worst) * (height + 24)), "white")
    pen = ImageDraw.Draw(sheet)
    for left, column in ((0, worst), (3 * width + 40, best)):
        for row, case in enumerate(column):
            top = row * (height + 24)
            pen.text((left + 4, top + 5), f"{case.key}  {by} {case.figures[by]:.3f}", fill="black")
            for place, picture in enumerate(case.pictures):
                sheet.paste(picture, (left + place * width, top + 24))
    return sheet
