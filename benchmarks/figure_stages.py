"""Draw the stages of a figure for docs/tryon3d.md, of a person of the atelier: python benchmarks/figure_stages.py"""

from pathlib import Path

import numpy as np
from PIL import Image

from personagen.atelier.corpus import random_sitting
from personagen.atelier.render import LABEL, render_person
from personagen.atelier.trace import Camera
from personagen.corpora.renders import body_of_render
from personagen.figure.behind import back_sheet
from personagen.figure.build import Dressed, build_figure
from personagen.figure.maps import CELL, read_maps
from personagen.figure.paint import CORE_NAME, Canvas, front_sheets
from personagen.figure.raster import render
from personagen.vocabulary import REGION

COLOURS = {"head": (214, 90, 80), "trunk": (90, 120, 200), "left leg": (80, 160, 100), "right leg": (150, 180, 80),
           "left arm": (220, 150, 60), "right arm": (170, 100, 180)}  # fmt: skip
TALL = 420


def main() -> None:
    sitting = random_sitting(107)
    picture = render_person(sitting.body, sitting.outfit, sitting.scene, size=(512, 384), camera=sitting.camera)
    body = body_of_render(picture, sitting.body, sitting.camera)
    assert body.joints is not None
    covers = {garment.kind: picture.labels == LABEL[REGION[garment.kind]] for garment in sitting.outfit[::-1]}
    photo = Image.fromarray(picture.image)
    figure = build_figure(Dressed(photo, body.parts, body.joints, covers, picture.labels > 0))
    maps = read_maps(body.parts, body.joints, kinds=covers, outline=picture.labels > 0)
    canvas = Canvas(maps, photo, tuple(covers))
    fronts = front_sheets(canvas)
    groups = np.full((*maps.person.shape, 3), 255, np.uint8)
    for name, colour in COLOURS.items():
        groups[maps.groups[name]] = colour
    views = [render(figure, Camera(azimuth=angle), size=(TALL, TALL * 5 // 8)) for angle in (0, 50, 90, 180)]
    shape = ((views[1].normals @ np.array([0.3, 0.5, 0.8], np.float32)).clip(0, 1) * 200 + 40)[::2, ::2]
    shape[views[1].layer[::2, ::2] < 0] = 255
    back = back_sheet(canvas, fronts[CORE_NAME])
    stages = [photo, Image.fromarray(groups), Image.fromarray(shape.astype(np.uint8)).convert("RGB"),
              Image.fromarray(fronts[CORE_NAME].picture), Image.fromarray(back.picture),
              *(view.picture for view in views[1:])]  # fmt: skip
    stages = [one.resize((round(one.width * TALL / one.height), TALL), Image.Resampling.LANCZOS) for one in stages]
    sheet = Image.new("RGB", (sum(one.width for one in stages), TALL), "white")
    left = 0
    for one in stages:
        sheet.paste(one, (left, 0))
        left += one.width
    out = Path(__file__).parents[1] / "docs" / "tryon3d.png"
    sheet.save(out, optimize=True)
    print(f"wrote {out.name}: {sheet.size}, cells of {CELL * 1000} mm")


if __name__ == "__main__":
    main()
