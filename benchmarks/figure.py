"""Measure figures by the truth: every view of the same person in the same garments is known in the atelier.

    python benchmarks/figure.py --n 60                    # held-out sittings, parts and joints found by the parser
    python benchmarks/figure.py --n 10 --refine 0.45 --out benchmarks/results/figure-refined.json
    python benchmarks/figure.py --n 60 --complete --work runs/completed --out benchmarks/results/figure-completed.json

The picture is the true render of the person in the garment, so that the figures are those of this room alone, not of
try-on. Views at 0, 45, 90, 135 and 180 degrees are compared with the true renders: IoU of the silhouette (as tall in
front, on the same ground, moved sideways until the middles agree), difference of the garment's mean Lab colour, `hue`
without the light, and whether the garment is the one of 20 whose colours in front are nearest to those behind, without
the light that is carried there. With --alike, a system of that name takes its depth from the atelier's own mean body
instead of the template. Beside it: the photo on a flat card, and the whole outline inflated without parts, layers and
body. With --refine, `refined` is ours with unseen sides painted by the embedded model at that strength, `distilled`
that after 100 steps of score distillation. With --complete, `completed` is ours as the embedded view completer leaves
it, and the plain baselines are left out. PSNR and SSIM are of the pixels that both the view and the truth call person.
Each sitting is written down when it is done, into --work, and a run that was cut off goes on there. Writes
``benchmarks/results/figure.json``.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from figure_family import atelier_body
from PIL import Image
from report import RESULTS, mean_of, write_json, write_report

from personagen.atelier.captions import person_caption
from personagen.atelier.corpus import HELDOUT_SEED, Sitting, random_sitting
from personagen.figure.build import build_figure
from personagen.figure.complete import complete
from personagen.figure.completer import load_completer
from personagen.figure.distil import Distilling, distil
from personagen.figure.evaluate import SIZE, VIEWS, as_tall, dressed_of, look, measured, truth_of
from personagen.figure.maps import CELL, Maps, read_maps
from personagen.figure.mesh import Figure, Layer
from personagen.figure.nets import Box, Surface, meshed
from personagen.figure.refine import Refining, refine
from personagen.figure.relief import beyond, half_widths, inflate
from personagen.figure.volume import relief_field
from personagen.models import load_text2image
from personagen.person.parser import load_parser
from recsys.errors import DataError

COMPARED = ("ours", "completed")
"""Systems of which the garment is looked for among twenty."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--seed", type=int, default=HELDOUT_SEED, help="first sitting; below 1,000,003: not held out")
    parser.add_argument("--sheets", type=Path, help="folder for pictures of every view beside the truth")
    parser.add_argument("--out", type=Path, default=RESULTS / "figure.json")
    parser.add_argument("--alike", action="store_true", help="also with the depth of the atelier's own body")
    parser.add_argument("--refine", type=float, default=0.0, help="strength at which unseen sides are painted")
    parser.add_argument("--complete", action="store_true", help="let the view completer paint unseen sides")
    parser.add_argument("--work", type=Path, default=Path("runs/figure"), help="folder of the sittings that are done")
    settings = parser.parse_args()
    rows, refused, read = [], [], load_parser()
    for seed in range(settings.seed, settings.seed + settings.n):
        row = _remembered(seed, read, settings)
        if "refused" in row:
            refused.append(f"{seed}: {row['refused']}")
        else:
            rows.append(row)
        print(seed, row, flush=True)
    names = sorted({name for row in rows for name in row})
    figures = {name: mean_of([row[name] for row in rows if name in row]) for name in names}
    report = {"n": settings.n, "seed": settings.seed, "size": SIZE, "refused": refused}
    print(write_report(settings.out, report | {"figures": figures}))


def _remembered(seed: int, read, settings) -> dict:
    """The figures of one sitting, or why it was refused; from the folder where it is done already."""
    path = settings.work / f"{seed}.json"
    if path.is_file():
        return json.loads(path.read_text())
    try:
        row = _case(random_sitting(seed), read, settings)
    except DataError as error:
        row = {"refused": str(error)}
    settings.work.mkdir(parents=True, exist_ok=True)
    write_json(path, row)
    return row


def _case(sitting: Sitting, read, settings) -> dict[str, float]:
    """The figures of one sitting."""
    truth = truth_of(sitting)
    dressed, shape = dressed_of(truth, read)
    started = time.process_time()
    figure = build_figure(dressed, shape=shape)
    seconds = time.process_time() - started
    maps = read_maps(dressed.parts, dressed.joints, kinds=dressed.covers, outline=None, height=shape.height)
    systems = {"ours": figure}
    if not settings.complete:
        systems |= {"card": _card(maps, dressed.picture), "inflated": _inflated(maps, dressed.picture)}
    if settings.alike:
        systems["alike"] = build_figure(dressed, shape=shape, body=atelier_body())
    row = {
        "seconds": seconds,
        "open edges": figure.report["open edges"],
        "front psnr": figure.report["inner psnr"],
    }
    changed = _refined(figure, sitting, settings.refine) if settings.refine else iter(())
    for name, made in chain(changed, _completed(figure, sitting) if settings.complete else ()):
        begun, systems[name] = time.process_time(), made()
        row[f"{name} seconds"] = time.process_time() - begun
    for name, system in systems.items():
        found = measured(system, truth, plain=name in ("card", "inflated"))
        row |= {f"{name} {what}": value for what, value in found.items() if what != "of 20" or name in COMPARED}
    if settings.sheets:
        sheet = [[truth.views[view].image for view in VIEWS]]
        for system in systems.values():
            tall = as_tall(system, truth)
            sheet.append([np.asarray(look(tall, truth, view).picture) for view in VIEWS])
        settings.sheets.mkdir(parents=True, exist_ok=True)
        picture = np.concatenate([np.concatenate(line, 1) for line in sheet])
        Image.fromarray(picture).save(settings.sheets / f"{sitting.seed}.png")
    return row


def _completed(figure: Figure, sitting: Sitting) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """The figure as the embedded view completer leaves it."""
    paint, generator = load_completer(), torch.Generator().manual_seed(sitting.seed)
    yield "completed", lambda: complete(figure, paint, generator=generator)[0]


def _refined(figure: Figure, sitting: Sitting, strength: float) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Ways of painting unseen sides with the embedded model, by the caption that is true."""
    words, generator = person_caption(sitting.outfit, sitting.scene), torch.Generator().manual_seed(sitting.seed)
    painter = load_text2image()
    asked = Refining(words, strength=strength, steps=20, guidance=2.0)
    yield "refined", lambda: refine(figure, painter, asked, generator=generator)[0]
    distilling = Distilling(words, steps=100, guidance=7.5)
    yield "distilled", lambda: distil(figure, painter, distilling, generator=generator)


def _card(maps: Maps, picture: Image.Image) -> Figure:
    """The photo on a flat card, cut out along the outline."""
    mask, depth = maps.person, 0.002
    front = np.where(mask, depth, -1.0)
    box = Box(maps.left, maps.top, -0.02, 2 * CELL)
    z = np.arange(6) * box.side - 0.02 + box.side / 2
    plane = front[: len(mask) // 2 * 2 : 2, : mask.shape[1] // 2 * 2 : 2]
    field = np.abs(z)[None, None] - 0.006 + np.where(plane > 0, 0, 0.05)[..., None]
    return _projected(meshed(field.astype(np.float32), box), maps, picture)


def _inflated(maps: Maps, picture: Image.Image) -> Figure:
    """The whole outline inflated: the same relief without parts, layers and body."""
    from personagen.figure.relief import Relief

    height = inflate(maps.person)
    wide = half_widths(height)
    flat, some = np.zeros_like(wide), np.full_like(wide, 0.7)
    relief = Relief(beyond(height, wide, maps.person), wide, flat, some, some)
    box = Box(maps.left, maps.top, -0.25, 2 * CELL)
    z = (np.arange(int(0.5 / box.side)) + 0.5) * box.side - 0.25
    return _projected(meshed(relief_field(relief, z.astype(np.float32), 2), box), maps, picture)


def _projected(surface: Surface, maps: Maps, picture: Image.Image) -> Figure:
    """A surface that shows the photo through and through."""
    at = maps.pixels(surface.vertices) / [picture.width, picture.height]
    return Figure((Layer("all", surface.vertices, surface.faces, at.astype(np.float32), kind="all"),), picture)


if __name__ == "__main__":
    main()
