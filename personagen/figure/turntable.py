"""Show a figure from all sides: an animation, a sheet of eight views, maps of depth and normals.

The figure turns on the spot before a place that stands still, its shadow on the ground, the place's light on it. The
texture holds the photo's own light, so a lamp here only shifts it, and takes the place of what `light` carries round.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recsys.errors import ConfigError

from ..atelier.light import Light
from ..atelier.render import cast_shadow, compress, encode
from ..atelier.scene import LIGHTS as SCENE_LIGHTS
from ..atelier.scene import paint
from ..atelier.trace import Camera, axes
from ..atelier.view import view_of
from ..files import write_folder, write_whole
from ..provenance import SCHEMA
from .light import irradiance
from .mesh import Figure, unlit
from .raster import View, render, shrunk

VIEWS = tuple(range(0, 360, 45))
"""Azimuths in degrees of the sheet and of the maps: 0 from the front, 90 from the figure's left."""
SHARE = 0.6
"""How much of a lamp's light is laid on a texture that is lit already."""
GAIN = (0.5, 1.35)
MOVES = (".webp", ".gif")
LIGHTS: dict[str, Light] = {
    "warm": Light((-0.70, 0.40, 0.60), (1.02, 0.76, 0.46), (0.40, 0.40, 0.44), (0.32, 0.26, 0.20)),
    "cool": Light((0.50, 0.70, 0.60), (0.60, 0.74, 0.98), (0.40, 0.48, 0.62), (0.24, 0.28, 0.36)),
    "soft": Light((0.0, 0.80, 0.60), (0.30, 0.30, 0.30), (0.72, 0.73, 0.75), (0.56, 0.56, 0.55)),
    "bright": Light((0.50, 0.76, 0.60), (1.20, 1.16, 1.06), (0.52, 0.55, 0.60), (0.38, 0.36, 0.34)),
    "dim": Light((-0.50, 0.60, 0.62), (0.50, 0.46, 0.42), (0.28, 0.28, 0.32), (0.18, 0.17, 0.17)),
}
"""Light words of a prompt."""
PAPER, INK = (244, 244, 242), "#6d6862"


@dataclass(frozen=True)
class Stage:
    """Where a figure is shown: a place of the atelier or plain paper, a light word, the first view in degrees.

    size: (H, W) of the pictures in pixels; seed: of the painted place.
    """

    scene: str | None = None
    light: str | None = None
    view: float = 0.0
    size: tuple[int, int] = (512, 384)
    seed: int = 0

    @property
    def lamp(self) -> Light | None:
        """The light that falls on the figure; None: as the photo has it."""
        if self.light is not None:
            return LIGHTS[self.light]
        return None if self.scene is None else SCENE_LIGHTS[self.scene]


class Turntable:
    """A figure on a stage: `Turntable(figure, stage).picture(azimuth)`."""

    def __init__(self, figure: Figure, stage: Stage | None = None) -> None:
        self.figure, self.stage = figure, stage or Stage()
        self._points = np.concatenate([layer.vertices for layer in figure.layers])

    @cached_property
    def camera(self) -> Camera:
        """The camera in front of the figure; it sees all of it from every side."""
        top = float(self._points[:, 1].max())
        wide = 2.0 * float(np.hypot(self._points[:, 0], self._points[:, 2]).max())
        height, width = self.stage.size
        extent = max(1.10 * max(top, self.figure.height), 1.06 * wide * height / width)
        return Camera(target=(0.0, 0.5 * extent - 0.045 * extent, 0.0), extent=extent)

    @cached_property
    def _plate(self) -> np.ndarray:
        """The painted place, linear RGB (H, W, 3), without the figure's shadow."""
        return paint(str(self.stage.scene), view_of(self.camera, *self.stage.size), self.stage.seed)

    def look(self, azimuth: float) -> View:
        """Render the figure from an azimuth in degrees on plain paper, in the photo's light."""
        return render(self.figure, self.camera_at(azimuth), size=self.stage.size, background=PAPER)

    def camera_at(self, azimuth: float) -> Camera:
        """Return the camera as it stands at an azimuth in degrees."""
        camera = self.camera
        return Camera(azimuth, camera.elevation, camera.distance, camera.target, camera.extent)

    def picture(self, azimuth: float) -> Image.Image:
        """Return the figure as it is seen from an azimuth in degrees, on its stage."""
        stage, background = self.stage, PAPER
        if stage.scene is not None:
            lamp = SCENE_LIGHTS[stage.scene]
            place, view = self._plate.copy(), view_of(self.camera, *stage.size)
            cast_shadow(place, view, self._points @ _turn(azimuth).T, lamp.towards, self.camera)
            background = Image.fromarray(encode(compress(place)))
        bare = self.figure if stage.lamp is None else unlit(self.figure)
        seen = render(bare, self.camera_at(azimuth), size=stage.size, background=background)
        if stage.lamp is None:
            return seen.picture
        lit = seen.image * shrunk(gains(seen, stage.lamp, azimuth))
        return Image.fromarray((lit.clip(0, 1) * 255 + 0.5).astype(np.uint8))

    def frames(self, count: int = 24) -> Iterator[Image.Image]:
        """Yield the pictures of one turn, the stage's view first."""
        for at in range(count):
            yield self.picture(self.stage.view + 360.0 * at / count)


def _turn(azimuth: float) -> np.ndarray:
    """The rotation (3, 3) about y that brings what a camera at an azimuth sees before a camera at 0."""
    c, s = np.cos(np.radians(azimuth)), np.sin(np.radians(azimuth))
    return np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]], np.float32)


def gains(seen: View, lamp: Light, azimuth: float) -> np.ndarray:
    """What colours are multiplied with, (2H, 2W, 3): a lamp that stands with the camera, 1 where there is no figure."""
    normals = seen.normals @ _turn(azimuth).T
    power = irradiance(normals, lamp) / irradiance(np.array([0.0, 0.2, 0.98], np.float32), SCENE_LIGHTS["studio"])
    gain = (1.0 + SHARE * (power - 1.0)).clip(*GAIN) ** (1 / 2.2)  # colours are sRGB, light is linear
    return np.where((seen.layer >= 0)[..., None], gain, 1.0).astype(np.float32)


def write_turntable(
    frames: Sequence[Image.Image], path: Path, *, record: Mapping[str, Any] | None = None, seconds: float = 3.0
) -> Path:
    """Write an animation that goes round and round as .webp or .gif, whole or not at all; return its path.

    record: how it was made, for the WebP's XMP or the GIF's comment. seconds: of one turn.

    Raises:
        ConfigError: another ending.
        ResourceError: the disk refuses.
    """
    kind = check_move(path).suffix.lower()
    text = json.dumps({"schema": SCHEMA, **(record or {})}, ensure_ascii=True, sort_keys=True)
    first, *rest = [frame.convert("RGB") for frame in frames]
    each = max(20, round(1000 * seconds / len(frames)))
    common: dict[str, Any] = {"save_all": True, "duration": each, "loop": 0}
    if kind == ".webp":
        return write_whole(path, lambda part: first.save(
            part, "WEBP", append_images=rest, quality=80, method=4, xmp=_xmp(text), **common
        ))  # fmt: skip
    first, *rest = [frame.quantize(256, dither=Image.Dither.NONE) for frame in (first, *rest)]
    return write_whole(path, lambda part: first.save(
        part, "GIF", append_images=rest, comment=text.encode(), optimize=True, **common
    ))  # fmt: skip


def check_move(path: Path) -> Path:
    """Refuse an animation of another kind than WebP or GIF.

    Raises:
        ConfigError: the path has another ending.
    """
    if path.suffix.lower() not in MOVES:
        raise ConfigError(f"{path} is no animation that can be written here; give a name that ends in .webp or .gif")
    return path


def _xmp(text: str) -> bytes:
    words = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:description><rdf:Alt>'
        f'<rdf:li xml:lang="x-default">{words}</rdf:li></rdf:Alt></dc:description></rdf:Description>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


def contact_sheet(table: Turntable, views: Sequence[float] = VIEWS, *, columns: int = 4) -> Image.Image:
    """Return one picture of a figure from several azimuths, each with its angle below."""
    (height, width), gap, line = table.stage.size, 8, 26
    rows = -(-len(views) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + line) + gap), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for at, azimuth in enumerate(views):
        x, y = gap + at % columns * (width + gap), gap + at // columns * (height + line)
        sheet.paste(table.picture(azimuth), (x, y))
        pen.text((x + width / 2, y + height + 3), f"{azimuth:g}°", font=font, fill=INK, anchor="ma")
    return sheet


def write_maps(table: Turntable, folder: Path, views: Sequence[float] = VIEWS) -> Path:
    """Write depth and normals of several views as PNG into a folder, whole or not at all; return the folder.

    depth-AZIMUTH.png: 16 bits, millimetres from the camera, 0 where nothing is. normal-AZIMUTH.png: x right, y up and z
    to the camera as (n + 1) / 2, grey where nothing is.

    Raises:
        ResourceError: the disk refuses.
    """

    def write(work: Path) -> Path:
        made = work / folder.name
        made.mkdir()
        for azimuth in views:
            depth, normals = maps(table, azimuth)
            depth.save(made / f"depth-{azimuth:03.0f}.png")
            normals.save(made / f"normal-{azimuth:03.0f}.png")
        return made

    return write_folder(folder.parent, write)


def maps(table: Turntable, azimuth: float) -> tuple[Image.Image, Image.Image]:
    """Return depth (16 bits, millimetres) and normals (RGB, in the camera's axes) of one view."""
    seen = table.look(azimuth)
    near, normals, layer = seen.near[::2, ::2], seen.normals[::2, ::2], seen.layer[::2, ::2]
    depth = np.where(layer >= 0, -1000.0 * near, 0.0).clip(0, 65535)
    back, right, up = axes(table.camera_at(azimuth))
    turned = normals @ np.stack([right, up, back], 1)
    turned = np.where((layer >= 0)[..., None], turned, 0.0)
    return (Image.fromarray((depth + 0.5).astype(np.uint16)),
            Image.fromarray(((turned + 1.0) * 127.5 + 0.5).clip(0, 255).astype(np.uint8)))  # fmt: skip
