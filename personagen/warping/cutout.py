"""Cut a garment out of a flat-lay or hanger photo and put it on white, or say that this cannot be done well.

A photo of somebody who wears it is another matter (`worn`).

Two sets of colours, of the picture's border and of its middle, are fitted in turn with what is nearer to which (the
iteration of GrabCut, Rother et al., SIGGRAPH 2004, without its graph cut; a blur of the evidence stands for it).
Where that is not to be trusted a parser may know, since ours was shown such photos too. What lies on white is known.
Before all of these the parser of garments is asked (`garment_parts`), which knows hangers and floors.
"""

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from recsys.errors import DataError

from ..colours import colour_gap, palette, to_lab
from ..images import PALEST, WHITE, WHITE_FROM, blur, components, dilate, fit, no_paler_than
from ..person.body import Body
from ..person.parser import Parser
from ..person.parts import CLOTHES, Part
from ..person.people import find_people
from ..person.reading import PeopleTouch, read_person
from .garment_parts import cloth_mask, garment_shares
from .garment_shape import cut_of
from .worn import NoGarment, NotWorn, shows_person, worn_garment

SIDE = 160
"""Longest side in pixels at which colours are compared."""
LIGHTNESS = 0.6
"""Weight of lightness beside the colour axes of Lab: light changes with folds and shade, colour does not."""
EDGE = 0.92
"""Places beyond this share of the way from the middle to the border count as background at first."""
CENTRED, PRIOR = 0.75, 6.0
"""Share of that way at which garment and background are equally likely before any colour is seen, and the weight of
this guess in Lab units a full way."""
ROUNDS = 6
"""Rounds of fitting colours and places in turn."""
UNLIKE = 8.0
"""Distance in Lab from every colour of the background beyond which a pixel may tell what the garment looks like."""
AREA = (0.05, 0.9)
"""Least and largest share of the picture that a garment may cover; outside it something else was found."""
PLAIN, NOTHING = 6, 0.0005
"""How far a channel may be from the commonest colour of a picture of one colour, and share of a small picture that may
be farther."""
FEWEST = 8
"""Pixels a side below which nothing is said of a picture."""
RIM, FAINT = 0.1, 1.2
"""Share of the border that may be darker where a background is white, and how much darker cloth on it is, at least."""
WORN = (*CLOTHES, Part.LEGWEAR)
"""Parts that are clothes."""
SHAPED = 0.78
"""Least overlap with the template of a garment of its kind, where one is known."""
BELIEF, SOFT = 19.0, 4.0
"""Weight in Lab units of what the parser of garments is sure of, and what colours must differ by to be sure."""
DOUBTED, MOST_DOUBT = (0.2, 0.8), 0.35
"""Shares of background between which a pixel is doubted, and most doubted pixels, over the area of the garment."""
KNOWING = 0.06
"""How much less like its kind, in overlap, what the parser of garments finds may be shaped than what others find."""
EXTRA = 0.03
"""Share of what lies on white that is beside the garment from which it is not taken as it is."""
BORDER = 0.3
"""Largest share of the picture's border that a garment may touch."""


def garment_mask(photo: Image.Image) -> np.ndarray | None:
    """Find the garment in a product photo, bool (H, W), or None where the result is not to be trusted.

    Trusted is an area of 5-90 % that keeps off most of the picture's border and is mostly in one piece.
    """
    small, where = fit(photo.convert("RGB"), size=(SIDE, SIDE), fill="edge")
    lab = to_lab(np.asarray(small)) * np.array([LIGHTNESS, 1.0, 1.0])
    inner = (slice(where.top, where.top + where.height), slice(where.left, where.left + where.width))
    inside = _separate(lab[inner])
    if inside is None or not _trusted(inside):
        return None
    return _enlarged(inside, photo.size)


def garment_on_white(
    photo: Image.Image, *, size: tuple[int, int], parser: Parser | None = None, kind: str | None = None
) -> tuple[Image.Image, bool]:
    """Return the garment on white, fitted to `size` (H, W), and whether it was cut out; otherwise the photo, padded.

    parser: asked where colours and a white background do not tell the garment. kind: the garment's, or a region; of
    what all say, that is taken which has the shape of such a garment (`shaped_mask`). Where somebody wears it, only the
    parts of its kind are taken (`worn_garment`).

    Raises:
        NoGarment: the picture is of one colour, or next to nothing is told from a white background.
        NotWorn: somebody in the photo wears other garments than the kind; the message says which.
    """
    check_shows_something(photo)
    if parser is not None and kind is not None:
        body = parser(photo)
        if shows_person(body):
            photo, body = _one_wearer(photo, body, parser)
            return cut_out(*worn_garment(photo, body, kind), size=size), True
        mask = shaped_mask(photo, body, kind)
    else:
        mask = garment_mask(photo)
        mask = on_white_mask(photo) if mask is None else mask
        if mask is None and parser is not None:
            mask = parsed_mask(photo, parser(photo))
    mask = _white_on_white(photo, kind) if mask is None else mask
    if mask is None:
        return fit(photo.convert("RGB"), size=size)[0], False
    return cut_out(photo.convert("RGB"), mask, size=size), True


def shaped_mask(photo: Image.Image, body: Body, kind: str) -> np.ndarray | None:
    """Find the garment by the parser of garments, that of people, colours or a white background: bool (H, W).

    body: what a parser of people says of the photo. That is taken which is shaped most like a garment of its kind,
    where they are alike that of the parser of garments. This one, and what lies on white, are taken even where none is
    shaped like a garment; others are not: None.
    """
    white = on_white_mask(photo)  # with its shadow, where it has one
    net = garment_parts_mask(photo)
    if white is not None and net is not None and not _lies_on_more(white, net):
        return white
    asked = [(net, KNOWING), (parsed_mask(photo, body), 0.0), (garment_mask(photo), 0.0), (white, 0.0)]
    found = [(cut_of(mask, kind).overlap + more, mask) for mask, more in asked if mask is not None]
    shaped, best = max(found, key=lambda one: one[0], default=(0.0, None))
    if shaped >= SHAPED:
        return best
    return net if white is None else white


def garment_parts_mask(photo: Image.Image) -> np.ndarray | None:
    """Find the garment in a photo by the parser of garments, bool (H, W); None where that is not to be trusted."""
    shares = garment_shares(photo)
    mask = cloth_mask(photo, coloured(photo, 1 - shares[:, :1]))
    inner = _trusted_small(mask)
    sure = shares[0, 0].numpy()
    doubt = float(((sure > DOUBTED[0]) & (sure < DOUBTED[1])).mean() / max(float((sure < 0.5).mean()), 1e-3))
    return None if inner is None or doubt > MOST_DOUBT else mask


def coloured(photo: Image.Image, share: Tensor) -> Tensor:
    """Correct the share of cloth (1, 1, h, w) that a parser found in a photo by the photo's own colours."""
    height, width = share.shape[2:]
    lab = to_lab(np.asarray(photo.convert("RGB").resize((width, height), Image.Resampling.BOX)))
    known = share[0, 0].numpy()
    prior = BELIEF * (2 * known - 1)
    found = by_colours(lab * np.array([LIGHTNESS, 1.0, 1.0]), prior, known > 0.5, known < 0.05)
    return share if found is None else torch.from_numpy(found)[None, None].float().div(SOFT).sigmoid()


def _lies_on_more(white: np.ndarray, net: np.ndarray) -> bool:
    """Tell whether what lies on white is more than the garment, such as a hanger or a shadow, by masks (H, W)."""
    near = max(2, round(0.01 * len(white)))
    return bool((white & ~dilate(net, up=near, down=near, side=near)).sum() > EXTRA * white.sum())


def _one_wearer(photo: Image.Image, body: Body, parser: Parser) -> tuple[Image.Image, Body]:
    """Of several people in a garment's photo take the largest, in a part of the photo; one alone stays as it is.

    Raises:
        NotWorn: they touch one another, so that it is not sure whose garment is meant.
    """
    if len(find_people(photo, parser, body)) < 2:
        return photo, body
    try:
        inner = read_person(photo, parser).body.inner
    except PeopleTouch as error:
        raise NotWorn("several people who touch one another wear garments in this photo; cut it so that one person is "
                      "left, or give a photo of the garment alone") from error  # fmt: skip
    except DataError:
        return photo, body
    return (photo, body) if inner is None else (photo.crop(inner.box), inner.body)


def check_shows_something(photo: Image.Image) -> None:
    """Refuse a garment's picture of one colour, as a transparent one without anything on it becomes. NoGarment."""
    if min(photo.size) < FEWEST:
        return
    small = np.asarray(photo.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)).astype(np.int16)
    if (np.abs(small - np.median(small, (0, 1))).max(-1) > PLAIN).mean() < NOTHING:
        raise NoGarment(f"the garment's picture of {photo.width}x{photo.height} pixels shows nothing but one colour; "
                        "give a photo of the garment, whole, that differs from its background")  # fmt: skip


def _white_on_white(photo: Image.Image, kind: str | None) -> np.ndarray | None:
    """Find a garment that is hardly darker than the white around it, bool (H, W); None on other backgrounds.

    Raises:
        NoGarment: there is none, and what can be told from the white, such as a print, is too small for a garment.
    """
    lightness = photo.convert("RGB")
    small, where = fit(lightness, size=(SIDE, SIDE), fill="edge", resample=Image.Resampling.BOX)
    inner = (slice(where.top, where.top + where.height), slice(where.left, where.left + where.width))
    darkest = np.asarray(small)[inner].min(-1).astype(np.float32)
    rim = np.concatenate([darkest[0], darkest[-1], darkest[:, 0], darkest[:, -1]])
    if np.quantile(rim, RIM) < WHITE_FROM:
        return None
    seen = darkest < WHITE_FROM
    pale = blur(torch.from_numpy(darkest)[None, None], kernel=3)[0, 0].numpy() < np.median(rim) - FAINT
    if pale.any() and _trusted(pale) and (kind is None or cut_of(_whole(pale), kind).overlap >= SHAPED):
        return _enlarged(pale, photo.size)
    if seen.mean() < AREA[0]:
        raise NoGarment(f"only {seen.mean():.0%} of the garment's picture can be told from its white background; "
                        "give a white garment on a transparent or darker one, a small one closer")  # fmt: skip
    return None


def on_white_mask(photo: Image.Image) -> np.ndarray | None:
    """Find a garment that lies on white, or lay on nothing (`images.PALEST`), bool (H, W); None where it does not."""
    cloth = np.asarray(photo.convert("RGB")).min(-1) < WHITE_FROM
    return cloth if _trusted_small(cloth) is not None else None


def parsed_mask(photo: Image.Image, body: Body) -> np.ndarray | None:
    """Find the garment in a product photo by a parser, bool (H, W), or None where the result is not to be trusted."""
    inside = np.isin(body.parts, WORN)
    inner = _trusted_small(inside)
    return None if inner is None else inside & _enlarged(inner, photo.size)


def _trusted_small(inside: np.ndarray) -> np.ndarray | None:
    """A mask (H, W) at the size at which it is judged, (h, w); None where it is not to be trusted."""
    small, where = fit(Image.fromarray(inside).convert("L"), size=(SIDE, SIDE), fill=0)
    inner = np.asarray(small)[where.top : where.top + where.height, where.left : where.left + where.width] >= 128
    return inner if inner.any() and _trusted(inner) else None


def _enlarged(inside: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What is whole of a small mask, at a photo's size (width, height)."""
    mask = Image.fromarray(_whole(inside)).convert("L").resize(size, Image.Resampling.BILINEAR)
    return np.asarray(mask) >= 128


def _separate(lab: np.ndarray) -> np.ndarray | None:
    """Tell garment from background in Lab (h, w, 3): bool (h, w), or None where one of them vanishes."""
    height, width = lab.shape[:2]
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    prior = PRIOR * (CENTRED - np.maximum(np.abs(y), np.abs(x)))  # the middle is garment, the border background
    edge = np.maximum(np.abs(y), np.abs(x)) > EDGE
    found = by_colours(lab, prior, ~edge, edge)
    return None if found is None else found > 0


def by_colours(lab: np.ndarray, prior: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> np.ndarray | None:
    """Say how much more Lab colours (h, w, 3) are a garment's than its background's, with a prior, (h, w) each.

    inside (h, w): what is garment at first; outside (h, w): what is background for sure. None where one vanishes.
    """
    found = None
    for _ in range(ROUNDS):
        far = colour_gap(lab, palette(lab[~inside | outside]))
        own = inside & (far > UNLIKE)
        if own.mean() < 0.01:
            return None
        near = colour_gap(lab, palette(lab[own]))
        evidence = torch.from_numpy((far - near + prior).clip(-25, 25))[None, None].float()
        found = blur(evidence, kernel=7)[0, 0].numpy()
        inside = found > 0
    return found


def _trusted(inside: np.ndarray) -> bool:
    rim = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    whole = _whole(inside)
    return AREA[0] <= whole.mean() <= AREA[1] and rim.mean() <= BORDER and (whole & inside).sum() > 0.7 * inside.sum()


def _whole(inside: np.ndarray) -> np.ndarray:
    """The largest piece and those of a tenth of its size, with their holes below 2 % of the picture filled."""
    pieces = components(inside)
    kept = np.logical_or.reduce([piece for piece in pieces if piece.sum() > 0.1 * pieces[0].sum()])
    holes = [hole for hole in components(~kept) if hole.sum() < 0.02 * hole.size]
    return np.logical_or.reduce([kept, *holes])


def cut_out(image: Image.Image, mask: np.ndarray, *, size: tuple[int, int]) -> Image.Image:
    """Cut a garment (mask: bool (H, W)) out of its photo, put it on white and fit it to `size` with a 5 % margin."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    alpha = (
        Image.fromarray(mask)
        .convert("L")
        .filter(ImageFilter.GaussianBlur(1.0))
        .point([max(0, 2 * v - 255) for v in range(256)])
    )
    on_white = Image.composite(no_paler_than(image, PALEST), Image.new("RGB", image.size, WHITE), alpha)
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    inner = (round(size[0] * 0.9), round(size[1] * 0.9))
    garment, _ = fit(on_white.crop(box), size=inner)
    canvas = Image.new("RGB", (size[1], size[0]), WHITE)
    canvas.paste(garment, ((size[1] - inner[1]) // 2, (size[0] - inner[0]) // 2))
    return canvas
