"""What surrounds the steps of try-on: photos, garments and masks are fitted to the model, results put into photos."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from recsys.errors import DataError

from .images import Placement, fit, picture_list, soft_inside, to_pil, to_tensor, unfit
from .masks import mask_list


@dataclass(frozen=True)
class Prepared:
    """Everything the steps need, at the model's size: pictures in [0, 1], mask 0/1, and how to get back."""

    photos: list[Image.Image]
    masks: list[np.ndarray]
    places: list[Placement]
    person: Tensor
    garment: Tensor
    mask: Tensor


def prepare(person, garment, mask, *, size: tuple[int, int]) -> Prepared:
    """Fit everything to `size`: the photo with its edge repeated, the garment on white, the mask's padding unmarked.

    Raises DataError when lists do not pair up, a mask is not of its photo's size, or marks nothing.
    """
    photos, garments, masks = picture_list(person), picture_list(garment), mask_list(mask)
    count = max(len(photos), len(garments), len(masks))
    if any(len(several) not in (1, count) for several in (photos, garments, masks)):
        raise DataError(
            f"{len(photos)} persons, {len(garments)} garments, {len(masks)} masks do not pair up; give 1 or {count}."
        )
    photos, masks = photos * (count // len(photos)), masks * (count // len(masks))
    garments = garments * (count // len(garments))
    for photo, marked in zip(photos, masks, strict=True):
        if marked.shape != (photo.height, photo.width):
            raise DataError(
                f"A mask of {marked.shape} is not of a photo of {photo.height, photo.width}; draw it on that photo."
            )
        if not marked.any():
            raise DataError("A mask marks nothing, so there is nothing to repaint; mark the old garment and the limbs.")
    fitted = [fit(photo, size=size, fill="edge") for photo in photos]
    small = [
        fit(Image.fromarray(marked).convert("L"), size=size, fill=0, resample=Image.Resampling.NEAREST)[0]
        for marked in masks
    ]
    cells = torch.stack([torch.from_numpy(np.asarray(m) >= 128) for m in small]).unsqueeze(1).float()
    worn = to_tensor([fit(picture, size=size)[0] for picture in garments])
    return Prepared(
        photos, masks, [place for _, place in fitted], to_tensor([photo for photo, _ in fitted]), worn, cells
    )


def finish(picture: Tensor, inputs: Prepared, i: int, *, repaint: bool) -> Image.Image:
    """Crop one decoded picture (3, H, W) back to its photo's size and aspect, and repaint there, at full resolution."""
    result = unfit(to_pil(picture[None])[0], inputs.places[i])
    if not repaint:
        return result
    photo, mask = inputs.photos[i], torch.from_numpy(inputs.masks[i])[None, None].float()
    kernel = max(3, photo.height // 50) // 2 * 2 + 1
    return to_pil(repaint_pictures(to_tensor(photo), to_tensor(result), mask, kernel=kernel))[0]


def repaint_pictures(person: Tensor, result: Tensor, mask: Tensor, *, kernel: int) -> Tensor:
    """Put the result inside the mask and leave the person outside it exactly as given.

    person, result (B, 3, H, W); mask (B, 1, H, W), 0 or 1; kernel: odd width in pixels of the blurred edge, which lies
    inside the mask. Returns (B, 3, H, W).
    """
    weight = soft_inside(mask, kernel=kernel)
    return torch.where(weight > 0, person + weight * (result - person), person)


def as_type(images: list[Image.Image], output_type: str) -> list[Image.Image] | np.ndarray | Tensor:
    """Hand pictures over as "pil", "np" (B, H, W, 3) or "pt" (B, 3, H, W), in [0, 1]."""
    if output_type == "pil":
        return images
    pictures = to_tensor(images)
    return pictures if output_type == "pt" else pictures.permute(0, 2, 3, 1).numpy()
