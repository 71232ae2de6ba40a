"""Set a person into a scene: cut out, at the scale and the place of somebody who stands there, in its light.

Light is matched as the grey-world assumption has it (Buchsbaum, Journal of the Franklin Institute 310, 1980): what the
mean colour of the new background is to that of the old one, a share of that the person becomes. Shadows fall away from
the brighter side: one where the feet stand, one along the ground.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageChops, ImageFilter

from ..images import blur, erode, mask_box
from ..person.guided_filter import guided_upsample

TALL, FLOOR = 0.84, 0.955
"""Of the scene's height: how tall a whole person is, and where the feet stand."""
LARGEST = 1536
"""Most rows of a picture, however large the person's photo is."""
WORKING = 320
"""Longest side in pixels at which the edge of a person is fitted."""
EDGE = (0.25, 0.85)
"""Fitted values that count as outside and as inside."""
FOLLOWS, GAIN = 0.35, (0.7, 1.2)
"""How far the person follows the light, as a power, and the least and most gain of a colour."""
CONTACT, CAST = 0.5, 0.3
"""How much of the light the shadows take: under the feet, along the ground."""
CUT = 0.01
"""Share of the photo's height from its lower border within which a person is cut off there."""


@dataclass(frozen=True)
class Cutout:
    """A person without a background: picture (RGB), its alpha (L), and the mean colour (3,) of what was behind."""

    picture: Image.Image
    alpha: Image.Image
    behind: np.ndarray


def cut_out(photo: Image.Image, person: np.ndarray) -> Cutout:
    """Cut a person, bool (H, W), out of a photo, with edges along the photo's own.

    Colours at the edge, which are mixed with the background's, are those a little further inside.
    """
    photo = photo.convert("RGB")
    picture = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 255
    shrink = min(1.0, WORKING / max(photo.size))
    size = (max(1, round(photo.height * shrink)), max(1, round(photo.width * shrink)))
    rough = torch.nn.functional.interpolate(torch.from_numpy(person)[None, None].float(), size=size, mode="area")
    fitted = guided_upsample(rough, picture, radius=2)[0, 0].numpy()
    reach = max(1, round(2 / shrink))
    near = erode(person, up=reach, down=reach, side=reach), ~erode(~person, up=reach, down=reach, side=reach)
    alpha = ((fitted - EDGE[0]) / (EDGE[1] - EDGE[0])).clip(0, 1) * near[1]
    alpha[near[0]] = 1
    outside = ~near[1]
    behind = picture[0].permute(1, 2, 0).numpy()[outside if outside.any() else ~person].reshape(-1, 3)
    colours = _from_inside(picture[0], erode(alpha >= 1, up=reach, down=reach, side=reach))
    return Cutout(
        Image.fromarray((colours * 255 + 0.5).astype(np.uint8)), Image.fromarray((alpha * 255).astype(np.uint8)),
        behind.mean(0) if len(behind) else np.full(3, 0.5),
    )  # fmt: skip


def _from_inside(picture: torch.Tensor, inside: np.ndarray) -> np.ndarray:
    """Let the colours (3, H, W) of the inside (H, W) run over its edge: (H, W, 3)."""
    known = torch.from_numpy(inside)[None].float()
    kernel = max(3, picture.shape[1] // 60) // 2 * 2 + 1
    both = blur(torch.cat([picture * known, known])[None], kernel=kernel)[0]
    run = torch.where(both[3:] > 1e-3, both[:3] / both[3:].clamp(min=1e-3), picture)
    return torch.where(known > 0, picture, run).clamp(0, 1).permute(1, 2, 0).numpy()


def set_into(scene: Image.Image, person: Cutout) -> Image.Image:
    """Return the scene, enlarged where the person is larger than it, with the person standing in it.

    Whoever is cut off at the lower border of their photo is cut off there in the scene, too.
    """
    top, bottom, left, right = mask_box(np.asarray(person.alpha) > 127)
    box = (left, top, right, bottom)
    cut = bottom >= person.alpha.height * (1 - CUT)
    share = 1 - (FLOOR - TALL) if cut else TALL
    height = int(np.clip((bottom - top) / share, scene.height, max(LARGEST, scene.height)))
    scene = scene.convert("RGB").resize((round(scene.width * height / scene.height), height), Image.Resampling.BICUBIC)
    scale = share * height / (bottom - top)
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    at = (round((scene.width - size[0]) / 2), height - size[1] if cut else round(FLOOR * height) - size[1])
    figure, alpha = (layer.resize(size, Image.Resampling.LANCZOS, box=box) for layer in (person.picture, person.alpha))
    layer = Image.new("L", scene.size)
    layer.paste(alpha, at)
    ground = scene if cut else _shadowed(scene, layer, at, size)
    lit = Image.new("RGB", scene.size)
    lit.paste(_in_light(figure, person.behind, scene), at)
    return Image.composite(lit, ground, layer)


def _in_light(figure: Image.Image, behind: np.ndarray, scene: Image.Image) -> Image.Image:
    """Return the figure in the scene's light; behind (3,): the mean colour of the background it was photographed at."""
    around = (np.asarray(scene, np.float32) / 255).reshape(-1, 3).mean(0)
    gain = (np.maximum(around, 0.02) / np.maximum(behind, 0.02)) ** FOLLOWS
    return Image.fromarray((np.asarray(figure) * gain.clip(*GAIN)).clip(0, 255).astype(np.uint8))


def _shadowed(scene: Image.Image, layer: Image.Image, at: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """Darken the ground where the person, an alpha of the scene's size, stands and away from the brighter side."""
    light = np.asarray(scene.convert("L"), np.float32).mean(0)
    side = 1 if light[: len(light) // 2].mean() >= light[len(light) // 2 :].mean() else -1
    floor, tall = at[1] + size[1], size[1]
    lean, flat = 2.5 * side, 0.16  # a shadow's lean and its length, of the person's height
    # where a row of the shadow lies, the row of the person that casts it, and how far it has gone aside
    cast = layer.transform(
        scene.size, Image.Transform.AFFINE, (1, lean, -lean * floor, 0, 1 / flat, floor - floor / flat),
        Image.Resampling.BILINEAR,
    ).filter(ImageFilter.GaussianBlur(tall / 110))  # fmt: skip
    feet = Image.new("L", scene.size)
    feet.paste(layer.crop((0, floor - tall // 16, scene.width, floor)), (0, floor - tall // 22))
    feet = feet.filter(ImageFilter.GaussianBlur(tall / 50))
    dark = np.maximum(np.asarray(cast) * CAST, np.asarray(feet) * CONTACT) / 255
    shade = Image.fromarray(((1 - dark) * 255).astype(np.uint8))
    return ImageChops.multiply(scene, Image.merge("RGB", [shade] * 3))
