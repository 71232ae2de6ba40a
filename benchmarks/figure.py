"""Measure figures by the truth: every view of the same person in the same garments is known in the atelier.

    python benchmarks/figure.py --n 60                    # held-out sittings, parts and joints found by the parser
    python benchmarks/figure.py --n 10 --refine 0.45 --out benchmarks/results/figure-refined.json

The picture is the true render of the person in the garment, so that the figures are those of this room alone, not of
try-on. Views at 0, 45, 90, 135 and 180 degrees are compared with the true renders: IoU of the silhouette (as tall in
front, on the same ground, moved sideways until the middles agree), difference of the garment's mean Lab colour, `hue`
without the light, and whether the garment is the one of 20 whose colours in front are nearest to those behind, without
the light that is carried there. With --alike, a system of that name takes its depth from the atelier's own mean body
instead of the template. Beside it: the photo on a flat card, and the whole outline inflated without parts, layers and
body. With --refine, `refined` is ours with unseen sides painted by the embedded model at that strength, `distilled`
that after 100 steps of score distillation. PSNR is of the pixels that both the view and the truth call person. Each
sitting is written down when it is done, into --work, and a run that was cut off goes on there. Writes
``benchmarks/results/figure.json``.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from figure_family import atelier_body
from PIL import Image
from report import RESULTS, mean_of, write_json, write_report

from personagen.atelier.captions import person_caption
from personagen.atelier.corpus import HELDOUT_SEED, Sitting, random_sitting
from personagen.atelier.garment import GarmentSpec, random_garment
from personagen.atelier.render import LABEL, Render, render_person
from personagen.atelier.trace import Camera
from personagen.colours import to_lab
from personagen.figure.build import Dressed, Shape, build_figure
from personagen.figure.distil import Distilling, distil
from personagen.figure.maps import CELL, Maps, read_maps
from personagen.figure.mesh import Figure, Layer, unlit
from personagen.figure.nets import Box, Surface, meshed
from personagen.figure.raster import View, render
from personagen.figure.refine import Refining, refine
from personagen.figure.refuse import check_photo
from personagen.figure.relief import beyond, half_widths, inflate
from personagen.figure.volume import relief_field
from personagen.models import load_text2image
from personagen.person.parser import load_parser
from personagen.vocabulary import REGION
from recsys.errors import DataError

SIZE = (384, 288)
VIEWS = (0, 45, 90, 135, 180)
OTHERS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--seed", type=int, default=HELDOUT_SEED, help="first sitting; below 1,000,003: not held out")
    parser.add_argument("--sheets", type=Path, help="folder for pictures of every view beside the truth")
    parser.add_argument("--out", type=Path, default=RESULTS / "figure.json")
    parser.add_argument("--alike", action="store_true", help="also with the depth of the atelier's own body")
    parser.add_argument("--refine", type=float, default=0.0, help="strength at which unseen sides are painted")
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
    truth = {view: _true(sitting, view) for view in VIEWS}
    garment = max(sitting.outfit, key=lambda one: REGION[one.kind] != "lower")
    front = truth[0]
    body = read(Image.fromarray(front.image))
    check_photo(body.parts, body.joints)
    label = _label(garment)
    dressed = Dressed(Image.fromarray(front.image), body.parts, body.joints, {garment.kind: front.labels == label})
    height = sitting.body.height  # as a user tells it
    started = time.process_time()
    figure = build_figure(dressed, shape=Shape(height=height))
    seconds = time.process_time() - started
    maps = read_maps(body.parts, body.joints, kinds=dressed.covers, outline=None, height=height)
    systems = {
        "ours": figure,
        "card": _card(maps, dressed.picture),
        "inflated": _inflated(maps, dressed.picture),
    }
    if settings.alike:
        systems["alike"] = build_figure(dressed, shape=Shape(height=height), body=atelier_body())
    spent = {}
    for name, made in _refined(figure, sitting, settings.refine) if settings.refine else ():
        begun, systems[name] = time.process_time(), made()
        spent[f"{name} seconds"] = time.process_time() - begun
    systems = {name: _as_tall(system, sitting.camera, front.labels > 0) for name, system in systems.items()}
    row = {
        "seconds": seconds,
        "open edges": figure.report["open edges"],
        "front psnr": figure.report["inner psnr"],
    } | spent
    sheet = [[truth[view].image for view in VIEWS]]
    for name, system in systems.items():
        views = {view: _look(system, sitting.camera, view) for view in VIEWS}
        row |= {f"{name} iou {view}": _iou(views[view].mask, truth[view].labels > 0) for view in VIEWS}
        row |= {f"{name} psnr {view}": _psnr(views[view], truth[view]) for view in VIEWS}
        sheet.append([np.asarray(views[view].picture) for view in VIEWS])
        worn = [at for at, layer in enumerate(system.layers) if layer.kind in (garment.kind, "all")]
        for view in VIEWS:
            ours, cloth = _worn(views[view], worn), truth[view].labels == label
            if name in ("card", "inflated"):
                ours &= _moved(cloth, views[view].mask, truth[view].labels > 0)
            if ours.any() and cloth.any():
                row[f"{name} lab {view}"], row[f"{name} hue {view}"] = _lab_error(views[view], ours, truth[view], cloth)
    row["ours of 20"] = _of_twenty(_look(unlit(systems["ours"]), sitting.camera, 180), figure, garment, sitting)
    if settings.sheets:
        settings.sheets.mkdir(parents=True, exist_ok=True)
        picture = np.concatenate([np.concatenate(line, 1) for line in sheet])
        Image.fromarray(picture).save(settings.sheets / f"{sitting.seed}.png")
    return row


def _refined(figure: Figure, sitting: Sitting, strength: float) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Ways of painting unseen sides with the embedded model, by the caption that is true."""
    words, generator = person_caption(sitting.outfit, sitting.scene), torch.Generator().manual_seed(sitting.seed)
    painter = load_text2image()
    asked = Refining(words, strength=strength, steps=20, guidance=2.0)
    yield "refined", lambda: refine(figure, painter, asked, generator=generator)[0]
    distilling = Distilling(words, steps=100, guidance=7.5)
    yield "distilled", lambda: distil(figure, painter, distilling, generator=generator)


def _psnr(view: View, truth: Render) -> float:
    """How a view agrees with the truth in dB, where both show the person."""
    mine, true = view.mask, truth.labels > 0
    both = _moved(mine, mine, true) & true
    error = _moved(view.image, mine, true)[both] - truth.image[both] / 255
    return float(-10 * np.log10(max(1e-9, (error**2).mean()))) if both.any() else 0.0


def _label(garment: GarmentSpec) -> int:
    """What a render calls a garment: a jacket is worn above, and has a label of its own."""
    return LABEL["outer" if garment.kind == "jacket" else REGION[garment.kind]]


def _as_tall(figure: Figure, camera: Camera, true: np.ndarray) -> Figure:
    """A figure made as tall in its front view as the person is; a photo does not tell how tall somebody is."""
    rows = lambda mask: np.ptp(np.flatnonzero(mask.any(1))) + 1
    scale = np.float32(rows(true) / rows(_look(figure, camera, 0).mask))
    return replace(figure, layers=tuple(replace(layer, vertices=layer.vertices * scale) for layer in figure.layers))


def _true(sitting: Sitting, view: int) -> Render:
    camera = _turned(sitting.camera, view)
    return render_person(sitting.body, sitting.outfit, "studio", size=SIZE, camera=camera, seed=sitting.seed)


def _turned(camera: Camera, view: float) -> Camera:
    return Camera(camera.azimuth + view, camera.elevation, camera.distance, camera.target, camera.extent)


def _look(figure: Figure, camera: Camera, view: int) -> View:
    """See a figure as the camera sees the person, who faced it at azimuth 0 of the figure."""
    return render(figure, Camera(view, camera.elevation, camera.distance, camera.target, camera.extent), size=SIZE)


def _iou(mask: np.ndarray, true: np.ndarray) -> float:
    """Intersection over union, the mask moved sideways until the middles agree; 0 of nothing."""
    if not mask.any():
        return 0.0
    moved = _moved(mask, mask, true)
    return float((moved & true).sum() / (moved | true).sum())


def _moved(plane: np.ndarray, mask: np.ndarray, true: np.ndarray) -> np.ndarray:
    """A plane moved sideways, and down to the same ground, as brings a mask onto the true one."""
    if not mask.any():
        return plane
    middle = lambda where: np.nonzero(where)[1].mean()
    ground = lambda where: int(np.flatnonzero(where.any(1))[-1])
    return np.roll(plane, (ground(true) - ground(mask), round(float(middle(true) - middle(mask)))), (0, 1))


def _worn(view: View, layers: list[int]) -> np.ndarray:
    return np.isin(view.layer[1::2, 1::2], layers)


def _lab_error(view: View, ours: np.ndarray, truth: Render, cloth: np.ndarray) -> tuple[float, float]:
    """Difference of the garment's mean Lab colour, and that without the light, of a and b alone."""
    mine, true = (view.image * 255).astype(np.uint8)[ours], truth.image[cloth]
    off = _lab(mine).mean(0) - _lab(true).mean(0)
    return float(np.linalg.norm(off)), float(np.linalg.norm(off[1:]))


def _lab(colours: np.ndarray) -> np.ndarray:
    return np.asarray(to_lab(colours.reshape(-1, 1, 3))).reshape(-1, 3)


def _of_twenty(view: View, figure: Figure, garment: GarmentSpec, sitting: Sitting) -> float:
    """Whether the garment's colours from behind are nearest to its own among 20 of its kind, as these look in front."""
    worn = [at for at, layer in enumerate(figure.layers) if layer.kind == garment.kind]
    mine = _histogram((view.image * 255).astype(np.uint8)[_worn(view, worn)])
    rng, scores = np.random.default_rng(sitting.seed), []
    for number in range(OTHERS):
        other = garment if number == 0 else random_garment(rng, garment.kind)
        outfit = tuple(other if one is garment else one for one in sitting.outfit)
        camera = _turned(sitting.camera, 0)
        seen = render_person(sitting.body, outfit, "studio", size=(128, 96), camera=camera, seed=sitting.seed)
        scores.append(np.minimum(mine, _histogram(seen.image[seen.labels == _label(garment)])).sum())
    return float(np.argmax(scores) == 0)


def _histogram(colours: np.ndarray) -> np.ndarray:
    """Shares of 8 x 8 x 8 Lab bins, smoothed."""
    cells = ((_lab(colours) + [0, 128, 128]) / [100, 256, 256] * 8).astype(int).clip(0, 7)
    counts = np.zeros((8, 8, 8))
    np.add.at(counts, tuple(cells.T), 1)
    for axis in range(3):
        padded = np.pad(counts, [(1, 1) if a == axis else (0, 0) for a in range(3)])
        first, middle, last = (np.take(padded, range(start, start + 8), axis) for start in range(3))
        counts = (first + 2 * middle + last) / 4
    return counts / max(counts.sum(), 1e-9)


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
