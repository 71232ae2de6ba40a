"""Set a thing into scenes: cut it out of its photos, and put it before backgrounds that the base model paints.

A few photos show a thing before a few backgrounds, and the word learnt for it would mean those backgrounds as well.
With the scene named in the caption and painted by the model itself, the words for scenes keep their meaning.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

from ..images import load_image
from ..provenance import write_png
from ..warping.cutout import garment_mask
from .config import SubjectConfig
from .data import Picture

BACKGROUNDS, PAINT_STEPS = 2, 10
FILL = 0.62
"""Share of the picture's height or width that the thing takes."""
BACKGROUND_WEIGHT = 64
"""Weight of the background in the error, of 255: the model knows its scenes already."""
EMBEDDED_BACKGROUND = "a person wearing a gray t-shirt and gray trousers"
"""What the embedded model is asked for, before the scene's words: it knows scenes behind people alone, and paints "a
photo on a beach" as a garment on sand. The person is taken out again."""
PERSON = (0.26, 0.74)
"""Between which shares of the width that person stands."""
PLAIN = (225, 225, 222)
"""Background of the pictures that name no scene."""


def set_into_scenes(
    pipe: Any, pictures: Sequence[Picture], config: SubjectConfig, *, size: tuple[int, int]
) -> Iterator[float | list[Picture]]:
    """Write every photo's subject before every scene, `size` (H, W), into output_dir/scenes; yield shares, then all.

    Photos with a caption or a mask of their own, and those whose subject cannot be told from its background, stay as
    they are. The last thing yielded is the list of pictures to train on.
    """
    folder = Path(config.output_dir) / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    backgrounds = {"": [Image.new("RGB", size[::-1], PLAIN)]}
    for done, scene in enumerate(config.scenes or [], 1):
        backgrounds[scene] = [_background(pipe, scene, config.seed + i, config, size) for i in range(BACKGROUNDS)]
        yield done / len(config.scenes or [])
    found: list[Picture] = []
    for place, picture in enumerate(pictures):
        photo = load_image(picture.path)
        mask = None if picture.caption or picture.mask else garment_mask(photo)
        if mask is None:
            found.append(picture)
            continue
        for number, (scene, choices) in enumerate(backgrounds.items()):
            path = folder / f"{picture.path.stem}-{number}.png"
            image, shape = before(photo, mask, choices[place % len(choices)])
            write_png(image, path)
            write_png(shape.point(lambda value: max(value, BACKGROUND_WEIGHT)), path.with_suffix(".mask.png"))
            caption = f"{config.instance_prompt} {scene}".strip()
            digest = hashlib.sha256(image.tobytes()).hexdigest()
            found.append(Picture(path, caption, size, digest, path.with_suffix(".mask.png")))
    yield found


def before(photo: Image.Image, mask: np.ndarray, background: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Put what a mask (bool, the photo's (H, W)) marks in the middle of a background; return it and a grey mask."""
    ys, xs = (np.quantile(places, [0.01, 0.99]) for places in np.nonzero(mask))
    box = (int(xs[0]), int(ys[0]), int(xs[1]) + 1, int(ys[1]) + 1)
    scale = FILL * min(background.height / (box[3] - box[1]), background.width / (box[2] - box[0]) * 1.25)
    sides = max(1, round((box[2] - box[0]) * scale)), max(1, round((box[3] - box[1]) * scale))
    thing = photo.crop(box).resize(sides, Image.Resampling.LANCZOS)
    shape = Image.fromarray(mask).convert("L").crop(box).resize(sides, Image.Resampling.BOX)
    result, region = background.copy(), Image.new("L", background.size)
    corner = (background.width - sides[0]) // 2, round((background.height - sides[1]) * 0.6)
    result.paste(thing, corner, shape.filter(ImageFilter.GaussianBlur(0.5)))
    region.paste(shape, corner)
    return result, region


@torch.no_grad()
def _background(pipe: Any, scene: str, seed: int, config: SubjectConfig, size: tuple[int, int]) -> Image.Image:
    """Paint a scene of `size` (H, W) that nothing stands in."""
    embedded = config.pretrained_model_name_or_path == "embedded"
    image = pipe(
        f"{EMBEDDED_BACKGROUND if embedded else 'a photo'} {scene}", height=size[0], width=size[1],
        num_inference_steps=PAINT_STEPS, guidance_scale=config.guidance_scale,
        generator=torch.Generator().manual_seed(seed),
    ).images[0]  # fmt: skip
    return without_middle(image) if embedded else image


def without_middle(image: Image.Image) -> Image.Image:
    """Fill the columns between PERSON with both sides' mirror images, one fading into the other."""
    pixels = np.asarray(image.convert("RGB"), np.float32)
    left, right = (round(share * image.width) for share in PERSON)
    x = np.arange(left, right)
    fade = ((x - left + 0.5) / (right - left))[None, :, None]
    before_it, after_it = np.maximum(2 * left - 1 - x, 0), np.minimum(2 * right - 1 - x, image.width - 1)
    filled = pixels.copy()
    filled[:, x] = pixels[:, before_it] * (1 - fade) + pixels[:, after_it] * fade
    return Image.fromarray(filled.round().astype(np.uint8))
