"""Read one person of a photo: find everybody, choose one, parse that one alone, and spare all the others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from recsys.errors import ConfigError, DataError

from .body import Body, Inner
from .parts import REGIONS, Part
from .people import CANVAS, Box, Parser, Person, find_people, inside, person_in, read, remembering, same, small
from .silhouette import others_of, own_silhouette, touches
from .whole import Seen, lacking

SMALL = 0.6
"""Share of the height of a parser's picture below which a person is parsed again in their own box."""
OTHER = 0.5
"""Length of trunk, as a share of the longest, from which somebody is counted."""
BEHIND = 0.2
"""The same share from which somebody's pixels are spared."""
DUBIOUS, BETTER = 0.66, 0.03
"""Mean probability of the joints below which a photo is also read upside down, and by how much that must be better."""
TURNS = {180: "upside down", 90: "on its side", 270: "on its side"}
REMEDY = "give a photo of one person, upright, from head to feet or to the hips, or a mask of your own"


class PeopleTouch(DataError):
    """People in a photo cannot be told from one another."""


@dataclass(frozen=True)
class Reading:
    """One person of a photo as they are dressed: the body, everybody who counts, longest trunk first, and who it is.

    note: a line for the user where there is something to say.
    """

    body: Body
    people: tuple[Person, ...] = ()
    chosen: Person | None = None
    note: str = ""


def read_person(
    photo: Image.Image, parser: Parser, *, box: Box | None = None, masked: bool = False, name: str = ""
) -> Reading:
    """Find the people in a photo and read one of them: the largest, or the one in `box`.

    The body refuses garments for which too little of the person is seen (`Body.mask`). A parser that finds no joints is
    taken at its word. masked: the caller has a mask of its own, so that nobody need be found; nothing is laid along
    joints then. name: of the file, for messages.

    Raises:
        ConfigError: the box is empty or not in the photo.
        DataError: nobody is found, or people who touch one another.
    """
    if box is not None:
        check_box(box, photo.size)
    parser = remembering(parser)
    body = parser(photo)
    if body.joints is None:
        return Reading(body)
    everybody = find_people(photo, parser, body, box=box)
    try:
        return _chosen(photo, parser, body, everybody, box)
    except DataError as error:
        if not masked:
            raise type(error)(f"{name}: {error}" if name else str(error)) from error
        return Reading(replace(body, joints=None), note=f"{error}; the mask is taken as it is")


def box_of(value: str | Sequence[int] | None) -> Box | None:
    """Read a box as a setting gives it: "left,top,right,bottom", or four numbers.

    Raises:
        ConfigError: it is something else.
    """
    if value is None:
        return None
    several = value.strip("[]() ").split(",") if isinstance(value, str) else list(value)
    try:
        left, top, right, bottom = (int(str(one).strip()) for one in several)
    except ValueError as error:
        raise ConfigError(f"box = {value!r}; give left,top,right,bottom, four whole numbers of pixels") from error
    return left, top, right, bottom


def check_box(box: Box, size: tuple[int, int]) -> None:
    """Refuse a box that is empty or not inside a photo of `size` (width, height). ConfigError."""
    left, top, right, bottom = box
    if not (0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]):
        raise ConfigError(
            f"box = {_words(box)} is empty or not inside the photo; give left,top,right,bottom in pixels with "
            f"0 <= left < right <= {size[0]} and 0 <= top < bottom <= {size[1]}"
        )


def _chosen(photo: Image.Image, parser: Parser, body: Body, everybody: list[Person], box: Box | None) -> Reading:
    meant = [one for one in everybody if box is None or inside(one, box)]
    if not meant:
        raise DataError(_nobody(photo, parser, body) if box is None else _nobody_in(box, everybody))
    chosen = meant[0] if box is None else max(meant, key=lambda one: _overlap(one.box, box))
    counted = tuple(one for one in everybody if one is chosen or one.trunk >= OTHER * everybody[0].trunk)
    others = [one.joints for one in everybody if one is not chosen and one.trunk >= BEHIND * chosen.trunk]
    alone = len(counted) == 1 and box is None
    whole = alone and _share_of_canvas(chosen, photo.size) >= SMALL and _is_read(body, chosen)
    window = (0, 0, *photo.size) if whole else chosen.box
    read_again = body if whole else parser(photo.crop(window))
    found = person_in(small(read_again), window)
    if not found.seen.person or not same(found, chosen):
        if len(counted) == 1:
            raise DataError(_nobody(photo, parser, body))
        raise PeopleTouch(f"one of {len(counted)} people in this photo cannot be told from the others; cut the photo "
                          "so that one person is left, or give a mask of your own")  # fmt: skip
    _check_upright(photo.crop(window), parser, found.seen)
    spared, touching = _spared(read_again, window, others)
    if touching and box is None:
        raise PeopleTouch(f"{len(counted)} people in this photo touch one another; name one with --box "
                          "left,top,right,bottom in pixels, cut the photo, or give a mask of your own")  # fmt: skip
    read_again = replace(_without(read_again, spared), refused=_refusals(found.seen))
    placed = read_again if whole else _placed(read_again, window, photo.size)
    return Reading(placed, counted, chosen, _note(counted, chosen, found.seen))


def _refusals(seen: Seen) -> dict[str, str]:
    """What cannot be put on, by region, and why."""
    missing = {region: lacking(seen, region) for region in REGIONS}
    return {
        region: f"a garment for {region!r} needs a photo that shows {what}, too, and this one does not; {REMEDY}"
        for region, what in missing.items()
        if what is not None
    }


def _note(counted: Sequence[Person], chosen: Person, seen: Seen) -> str:
    """A line about a photo of several people, or of one without a head; empty where there is nothing to say."""
    if len(counted) > 1:
        middle = [(one.box[0] + one.box[2]) / 2 for one in counted]
        place = sorted(middle).index((chosen.box[0] + chosen.box[2]) / 2) + 1
        return (f"{len(counted)} people were found; number {place} from the left is dressed, at "
                f"{_words(chosen.box)}; --box left,top,right,bottom chooses another")  # fmt: skip
    if not seen.headed:
        return "no head is seen in this photo; the garment may sit too high or too low"
    return ""


def _words(box: Box) -> str:
    return ",".join(map(str, box))


def _nobody_in(box: Box, everybody: Sequence[Person]) -> str:
    where = " and ".join(_words(one.box) for one in everybody)
    return f"nobody who can be dressed was found in box {_words(box)}; " + (
        f"people are at {where}" if where else REMEDY
    )


def _nobody(photo: Image.Image, parser: Parser, body: Body) -> str:
    """Say what is seen where no person who can be dressed is."""
    for turn, how in TURNS.items():
        turned = photo.rotate(turn, expand=True)
        if any(one.seen.top and one.seen.headed for one in read(turned, parser, [(0, 0, *turned.size)])):
            return f"the person in this photo is {how}; turn the photo"
    seen = person_in(small(body), (0, 0, *photo.size)).seen
    what = lacking(seen, "upper")
    only = "" if what in (None, "a person") else f" with {what}"
    return f"no person{only} was found in this photo of {photo.width}x{photo.height} pixels; {REMEDY}"


def _check_upright(photo: Image.Image, parser: Parser, seen: Seen) -> None:
    """Refuse a person who is upside down, of whom a parser still finds much. DataError."""
    if seen.all >= DUBIOUS:
        return
    for other in read(photo.rotate(180), parser, [(0, 0, *photo.size)]):
        if other.seen.person and other.seen.all > seen.all + BETTER:
            raise DataError("the person in this photo is upside down; turn the photo")


def _share_of_canvas(person: Person, size: tuple[int, int]) -> float:
    """How much of the height of the picture that a parser is shown a person takes, of a photo (width, height)."""
    canvas = max(size[1], size[0] * CANVAS[0] / CANVAS[1])
    return (person.box[3] - person.box[1]) / canvas


def _is_read(body: Body, chosen: Person) -> bool:
    """Tell whether a body of the whole photo is that of the chosen person."""
    height, width = body.parts.shape
    first = person_in(small(body), (0, 0, width, height))
    return first.seen.person and same(first, chosen)


def _spared(body: Body, window: Box, others: Sequence[np.ndarray]) -> tuple[np.ndarray | None, bool]:
    """What is others', bool (H, W) of a body of a window, or None; and whether others are touched."""
    reduced = small(body)
    assert reduced.joints is not None
    height, width = reduced.parts.shape
    scale = np.array([width / (window[2] - window[0]), height / (window[3] - window[1]), 1.0])
    there = [(joints - [window[0], window[1], 0]) * scale for joints in others]
    own = own_silhouette(reduced.parts, reduced.joints)
    found = others_of(reduced.parts, reduced.joints, there, own=own)
    if not found.any():
        return None, False
    size = body.parts.shape[::-1]
    large = np.asarray(Image.fromarray(found).resize((size[0], size[1]), Image.Resampling.NEAREST))
    return large, any(touches(joints, own) for joints in there)


def _without(body: Body, others: np.ndarray | None) -> Body:
    """A body without the parts (H, W) of others, which are never touched."""
    if others is None:
        return body
    return replace(body, parts=np.where(others, Part.BACKGROUND, body.parts).astype(np.uint8), others=others)


def _placed(inner: Body, window: Box, size: tuple[int, int]) -> Body:
    """A body of a window as one of the photo of `size` (width, height)."""
    left, top, right, bottom = window
    parts = np.zeros(size[::-1], np.uint8)
    parts[top:bottom, left:right] = inner.parts
    assert inner.joints is not None
    joints = inner.joints + [left, top, 0]
    return Body(parts, joints, inner=Inner(inner, window), refused=inner.refused)


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    return width * height / (area(one) + area(other) - width * height)
