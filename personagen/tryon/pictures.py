"""What surrounds the steps of try-on: photos, garments and masks are fitted to the model, results put into photos."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageChops
from torch import Tensor

from recsys.errors import DataError

from ..images import Placement, fit, frame, mask_box, picture_list, soft_inside, to_pil, to_tensor, unfit
from ..person.masks import check_mask, mask_list
from ..warping.shading import shade, shaded

STRIP = 256
"""Rows of a photo that are repainted at a time."""


@dataclass(frozen=True)
class Prepared:
    """Everything the steps need, at the model's size: pictures in [0, 1], mask 0/1, and how to get back."""

    photos: list[Image.Image]
    masks: list[np.ndarray]
    frames: list[tuple[int, int, int, int]]
    places: list[Placement]
    person: Tensor
    garment: Tensor
    mask: Tensor
    guesses: list[Image.Image] | None
    guess: Tensor | None


def prepare(person, garment, mask, *, size: tuple[int, int], zoom: bool = False, guess=None) -> Prepared:
    """Fit everything to `size`: the photo with its edge repeated, the garment on white, the mask's padding unmarked.

    zoom: show the model the surroundings of the mask (`frame`) instead of the whole photo.

    Raises:
        DataError: lists do not pair up, a mask is not of its photo's size, or marks nothing or all.
    """
    photos, garments, masks = picture_list(person), picture_list(garment), mask_list(mask)
    count = max(len(photos), len(garments), len(masks))
    if any(len(several) not in (1, count) for several in (photos, garments, masks)):
        raise DataError(
            f"{len(photos)} photos, {len(garments)} garments, {len(masks)} masks do not pair up; give 1 or {count}"
        )
    photos, masks = photos * (count // len(photos)), masks * (count // len(masks))
    garments = garments * (count // len(garments))
    for photo, marked in zip(photos, masks, strict=True):
        if marked.shape != (photo.height, photo.width):
            raise DataError(
                f"a mask of {marked.shape} is not of a photo of {photo.height, photo.width}; draw it on that photo"
            )
        check_mask(marked)
    frames = [frame(m, size=size) if zoom else (0, 0, m.shape[1], m.shape[0]) for m in masks]
    fitted = [fit(photo.crop(box), size=size, fill="edge") for photo, box in zip(photos, frames)]
    cells = [
        fit(Image.fromarray(marked).convert("L").crop(box), size=size, fill=0, resample=Image.Resampling.NEAREST)[0]
        for marked, box in zip(masks, frames)
    ]
    several: list[Image.Image] = guess if isinstance(guess, list) else [] if guess is None else [guess]
    guesses = [one.convert("RGBA") for one in several] or None
    if guesses is not None and [one.size for one in guesses] != [photo.size for photo in photos]:
        raise DataError(f"guesses of {[one.size for one in guesses]} do not fit the photos; make one of each photo")
    first = None
    if guesses is not None:
        shown = [one.crop(box).convert("RGB") for one, box in zip(guesses, frames)]
        first = to_tensor([fit(one, size=size, fill="edge")[0] for one in shown])
    return Prepared(
        photos, masks, frames, [place for _, place in fitted], to_tensor([photo for photo, _ in fitted]),
        to_tensor([fit(picture, size=size)[0] for picture in garments]),
        torch.stack([torch.from_numpy(np.asarray(one) >= 128) for one in cells]).unsqueeze(1).float(),
        guesses, first,
    )  # fmt: skip


def finish(picture: Tensor, inputs: Prepared, i: int, *, repaint: bool) -> Image.Image:
    """Bring one decoded picture (3, H, W) back to its photo's size and aspect, and repaint there, at full resolution.

    Where there is a guess, its pixels are taken, in the picture's light and shade (`compose`).
    Only the mask's box is worked on, in strips: a photo of 12 megapixels takes some 200 MB.

    Raises:
        DataError: all of the mask is thinner than its soft edge.
    """
    canvas, (left, top, _, bottom) = inputs.photos[i].copy(), inputs.frames[i]
    result = unfit(to_pil(picture[None])[0], inputs.places[i])
    if not repaint:
        canvas.paste(result, (left, top))
        return canvas
    guess = None if inputs.guesses is None or inputs.guess is None else inputs.guesses[i]
    if inputs.guess is not None:
        light = shade(picture, inputs.guess[i], inputs.mask[i])[0].numpy()
        result = unfit(Image.fromarray(light), inputs.places[i], resample=Image.Resampling.BICUBIC)
    mask = inputs.masks[i]
    kernel = max(3, (bottom - top) // 50) // 2 * 2 + 1
    first, last, left_edge, right_edge = mask_box(mask)
    for start in range(first, last, STRIP):
        stop = min(start + STRIP, last)
        box = (left_edge, start, right_edge, stop)
        marked, old = _with_border(mask, box, kernel // 2), to_tensor(canvas.crop(box))
        part = result.crop((left_edge - left, start - top, right_edge - left, stop - top))
        new = to_tensor(part) if guess is None else shaded(guess.crop(box), part)
        canvas.paste(to_pil(repaint_pictures(old, new, marked, kernel=kernel))[0], box[:2])
    whole = (left_edge, first, right_edge, last)
    if ImageChops.difference(canvas.crop(whole), inputs.photos[i].crop(whole)).getbbox() is None:
        raise DataError(f"the mask changes nothing: its edge is soft over {kernel} pixels; paint wider strokes")
    return canvas


def _with_border(mask: np.ndarray, box: tuple[int, int, int, int], border: int) -> Tensor:
    """A part of a mask (1, 1, h + 2 border, w + 2 border); beyond the picture its edge is repeated."""
    left, top, right, bottom = box
    rows = np.arange(top - border, bottom + border).clip(0, mask.shape[0] - 1)
    columns = np.arange(left - border, right + border).clip(0, mask.shape[1] - 1)
    return torch.from_numpy(mask[np.ix_(rows, columns)])[None, None].float()


def repaint_pictures(person: Tensor, result: Tensor, mask: Tensor, *, kernel: int) -> Tensor:
    """Put the result inside the mask and leave the person outside it exactly as given.

    person, result (B, 3, H, W); mask (B, 1, H + kernel - 1, W + kernel - 1), 0 or 1, with half a kernel of surroundings
    on each side; kernel: odd width in pixels of the blurred edge, which lies inside the mask. Returns (B, 3, H, W).
    """
    border = kernel // 2
    weight = soft_inside(mask, kernel=kernel)[
        :, :, border : border + person.shape[2], border : border + person.shape[3]
    ]
    return torch.where(weight > 0, person + weight * (result - person), person)


def as_type(images: list[Image.Image], output_type: str) -> list[Image.Image] | np.ndarray | Tensor:
    """Hand pictures over as "pil", "np" (B, H, W, 3) or "pt" (B, 3, H, W), in [0, 1]."""
    if output_type == "pil":
        return images
    pictures = to_tensor(images)
    return pictures if output_type == "pt" else pictures.permute(0, 2, 3, 1).numpy()
