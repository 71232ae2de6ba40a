"""Take a garment off a photo as far as one can guess: what it hid is ground, skin, or what is worn below it.

Joints say where arms, legs and trunk are; colours come from what is seen of each in the photo, spread by averages of
growing size (push and pull: Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.4). Nothing of the garment stays.
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from torch import Tensor

from .images import blur, dilate, erode, to_pil, to_tensor
from .joints import Joint, trunk_of
from .masks import Part
from .strips import Strip

LONGEST = 480
"""Longest side in pixels at which colours are spread."""
ARM, TRUNK, LEG = (0.15, 0.12, 0.085), (0.5, 0.48), (0.24, 0.16, 0.11)
"""Half the width of limbs at their joints and of the trunk, as shares of the distance between the shoulder joints."""
NEAR, FRINGE = 0.006, 0.012
"""Of the photo's height: how near to a part's border colours are not trusted, thrice of it for the ground; and how far
around a garment is painted over, for parts end a little inside it."""
SHADE = 0.3
"""How much darker skin is at the edge of a limb."""


def uncover(
    photo: Image.Image, parts: np.ndarray, garment: np.ndarray, joints: np.ndarray, *, region: str
) -> Image.Image:
    """Paint over a garment of a region, bool (H, W), in a photo with body parts (H, W) and joints (13, 3) in pixels.

    Arms are bare under it. Under a top or coat, trunk and legs show what is worn below, where that is seen, under other
    garments legs show stockings or skin. Everything else is ground.
    """
    shrink = min(1.0, LONGEST / max(photo.size))
    size = (max(1, round(photo.width * shrink)), max(1, round(photo.height * shrink)))
    small = to_tensor(photo.convert("RGB").resize(size, Image.Resampling.BOX))[0]
    nearest = lambda plane: np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.NEAREST))
    labels, hidden = nearest(parts.astype(np.uint8)), nearest(garment.astype(np.uint8)) > 0
    near = round(NEAR * size[1])

    def seen(*wanted: int, far: int = 1) -> np.ndarray:
        return erode(np.isin(labels, wanted) & ~hidden, up=far * near, down=far * near, side=far * near)

    arms, legs, trunk, round_arm, round_leg = _limbs(joints[:, :2] * shrink, labels.shape)
    ground, skin = spread(small, seen(Part.BACKGROUND, far=3)), spread(small, seen(Part.SKIN))
    over_all = region in ("upper", "outer")
    below = spread(small, seen(Part.LOWER, Part.DRESS, Part.LEGWEAR) if over_all else seen(Part.LEGWEAR))
    painted = small if ground is None else ground
    for what, where, edge in ((skin if below is None else below, legs | (trunk if over_all else legs), round_leg),
                              (skin, arms, round_arm)):  # fmt: skip
        if what is not None:
            share = blur(torch.from_numpy(where)[None, None].float(), kernel=5)[0]
            painted = painted + share * (what * (1 - SHADE * torch.from_numpy(edge).float()) - painted)
    filled = to_pil(painted[None])[0].resize(photo.size, Image.Resampling.BICUBIC)
    wide = max(1, round(FRINGE * photo.height))
    over = Image.fromarray(dilate(garment, up=wide, down=wide, side=wide)).convert("L")
    return Image.composite(filled, photo.convert("RGB"), over.filter(ImageFilter.BoxBlur(wide / 3)))


def spread(picture: Tensor, known: np.ndarray) -> Tensor | None:
    """Fill a picture (3, H, W) from the places that are known, bool (H, W); None where there are none."""
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


def _limbs(joints: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Where arms, legs and trunk are, bool (H, W), and how near to their edge arms and legs are, 0..1 (H, W)."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    body = trunk_of(joints)
    spans = {"arm": ("SHOULDER", "ELBOW", "WRIST"), "leg": ("HIP", "KNEE", "ANKLE")}
    found = {}
    for limb, widths in (("arm", ARM), ("leg", LEG)):
        inside, edge = np.zeros(size, bool), np.ones(size)
        for side in ("LEFT", "RIGHT"):
            line = np.stack([joints[Joint[f"{side}_{name}"]] for name in spans[limb]])
            u, v = Strip(line, np.array(widths) * body.across).coordinates(x, y)
            within = (np.abs(v) <= 1) & (u > -0.05) & (u < 1.03)
            inside |= within
            edge = np.where(within, np.minimum(edge, np.abs(v) ** 3), edge)
        found[limb] = inside, edge * inside
    u, v = Strip(np.stack([body.shoulders, body.hips]), np.array(TRUNK) * body.across).coordinates(x, y)
    trunk = (np.abs(v) <= 1) & (u > -0.1) & (u < 1.3)
    return found["arm"][0], found["leg"][0], trunk, found["arm"][1], found["leg"][1]
