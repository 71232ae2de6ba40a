"""Find the people in a photo.

A parser that knows one standing person reads the whole photo, then windows around everything that may be somebody else:
further heads, further silhouettes, the columns of a wide photo. What it says of a window counts where it is a person
(`whole.seen_in`), and one person once.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..images import pieces
from .body import Body
from .joints import Joint, trunk_of
from .parts import Part
from .silhouette import distance
from .whole import Seen, seen_in

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels, the last two excluded."""
Parser = Callable[[Image.Image], Body]
SIDE = 400
"""Longest side in pixels at which windows are read and silhouettes compared."""
WIDE = 0.9
"""Width over height from which a photo is read in columns, too, each `COLUMN` of its height wide."""
COLUMN, STEP, COLUMNS = 0.75, 0.4, 16
"""Width of a column and how far the next one is, in heights of the photo, and the most of them."""
ROUNDS = 3
"""Rounds of looking for somebody who is not found yet."""
CANVAS = (4, 3)
"""Height and width of what a parser is shown, about."""
HEADS, TALL = 11, 4.4
"""Height of a window around somebody, in sizes of what is seen of the head and in lengths of a trunk."""
AWAY = 0.6
"""How far from a person's bones a silhouette may be somebody else's, in lengths of the trunk."""
APART = 0.45
"""Distance of two trunks, in lengths of the longer, below which they are one person's."""


@dataclass(frozen=True)
class Person:
    """Somebody in a photo: joints (13, 3) and a box in its pixels, and what is seen of them."""

    joints: np.ndarray
    box: Box
    seen: Seen

    @property
    def trunk(self) -> float:
        """Length of the trunk in pixels."""
        return trunk_of(self.joints).tall


def remembering(parser: Parser) -> Parser:
    """Return a parser that is asked once for each picture, and remembers what it said of the same pixels."""
    known: dict[tuple[tuple[int, int], str, bytes], Body] = {}

    def parse_once(photo: Image.Image) -> Body:
        key = photo.size, photo.mode, hashlib.blake2b(photo.tobytes()).digest()
        if key not in known:
            known[key] = parser(photo)
        return known[key]

    return parse_once


def find_people(photo: Image.Image, parser: Parser, body: Body, *, box: Box | None = None) -> list[Person]:
    """List everybody in a photo, longest trunk first; body: what the parser says of the whole of it, with joints.

    box: a place to look at, too.
    """
    first = small(body)
    done: set[Box] = set()
    found = [person_in(first, (0, 0, *photo.size))]
    windows = _columns(photo.size) if photo.width > WIDE * photo.height else []
    windows += [] if box is None else [box]
    for _ in range(ROUNDS):
        found = distinct([*found, *read(photo, parser, windows)])
        done |= set(windows)
        windows = [one for one in _unexplained(first, found, photo.size) if one not in done]
        if not windows:
            break
    if done:  # a window that is made for somebody shows them better
        found = distinct([*found, *read(photo, parser, [one.box for one in found])])
    return found


def _unexplained(body: Body, people: Sequence[Person], size: tuple[int, int]) -> list[Box]:
    """Windows around what may be somebody else, in a body at `SIDE` pixels of a photo of `size` (width, height)."""
    return [*_heads(body, people, size), *_silhouettes(body, people, size)]


def read(photo: Image.Image, parser: Parser, windows: Iterable[Box]) -> list[Person]:
    """Read windows of a photo, each at `SIDE` pixels at most."""
    found = []
    for window in dict.fromkeys(windows):
        part = photo.crop(window)
        part.thumbnail((SIDE, SIDE))
        body = parser(part)
        if body.joints is not None:
            found.append(person_in(body, window))
    return found


def person_in(body: Body, window: Box) -> Person:
    """What a body of a window says, in pixels of the photo."""
    assert body.joints is not None
    height, width = body.parts.shape
    scale = np.array([(window[2] - window[0]) / width, (window[3] - window[1]) / height, 1.0])
    joints = body.joints * scale + [window[0], window[1], 0]
    return Person(joints, _box_of(joints, window), seen_in(body.parts, body.joints))


def _box_of(joints: np.ndarray, window: Box) -> Box:
    """The box of a person within a window, by joints (13, 3): with room for hair, clothes and hands."""
    tall = trunk_of(joints).tall
    sure = joints[joints[:, 2] >= 0.15]
    sure = sure if len(sure) else joints
    ankles = joints[[Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE], 2].mean() >= 0.25
    left, right = sure[:, 0].min() - 0.7 * tall, sure[:, 0].max() + 0.7 * tall
    top, bottom = sure[:, 1].min() - 0.8 * tall, sure[:, 1].max() + 0.4 * tall if ankles else window[3]
    sides = (max(left, window[0]), max(top, window[1]), min(right, window[2]), min(bottom, window[3]))
    return round(sides[0]), round(sides[1]), max(round(sides[2]), round(sides[0]) + 1), max(
        round(sides[3]), round(sides[1]) + 1
    )  # fmt: skip


def small(body: Body) -> Body:
    """A body at `SIDE` pixels at most."""
    assert body.joints is not None
    height, width = body.parts.shape
    step = max(1.0, max(height, width) / SIDE)
    rows = (np.arange(max(1, int(height / step))) * step).astype(int)
    columns = (np.arange(max(1, int(width / step))) * step).astype(int)
    return Body(body.parts[np.ix_(rows, columns)], body.joints / [step, step, 1.0])


def _heads(body: Body, people: Sequence[Person], size: tuple[int, int]) -> list[Box]:
    """Windows around heads of a body at `SIDE` pixels, those of `people` apart."""
    scale = size[0] / body.parts.shape[1]
    found = [piece for piece in pieces(body.parts == Part.HEAD)[:5] if len(piece[0]) >= 12]
    if not found:
        return []
    least, middles = 0.08 * len(found[0][0]), [piece[1].mean() * scale for piece in found]
    windows = []
    for at, (rows, columns) in enumerate(found):
        middle, row = middles[at], rows.mean() * scale
        if len(rows) < least or any(_near(one, middle, row) for one in people):
            continue
        side = max(np.ptp(rows), np.ptp(columns)) * scale + 1
        top, tall = max(0.0, rows.min() * scale - side), HEADS * side
        tall = max([tall, *(TALL * one.trunk for one in people)])
        half = tall * CANVAS[1] / CANVAS[0] / 2
        away = [(other - middle) for other in middles if abs(other - middle) > side]
        away += [one.joints[Joint.NOSE, 0] - middle for one in people]
        left = max([middle - half, *(middle + 0.6 * far for far in away if far < 0)])
        right = min([middle + half, *(middle + 0.6 * far for far in away if far > 0)])
        windows.append(_clipped((left, top, right, top + tall), size))
    return windows


def _near(person: Person, column: float, row: float) -> bool:
    """Tell whether a head at a place may be that of a person: hair hangs down, too."""
    nose, tall = person.joints[Joint.NOSE], person.trunk
    return bool(abs(column - nose[0]) < 0.6 * tall and -tall < row - nose[1] < 1.5 * tall)


def _silhouettes(body: Body, people: Sequence[Person], size: tuple[int, int]) -> list[Box]:
    """Windows around pieces of what is no background and not near the bones of `people`."""
    scale = size[0] / body.parts.shape[1]
    cloth = body.parts != Part.BACKGROUND
    away = cloth.copy()
    for one in people:
        away &= distance(one.joints / [scale, scale, 1.0], cloth.shape) > AWAY
    rest = pieces(away)[:4]
    least = 0.1 * cloth.sum() if people else 0.3 * len(rest[0][0]) if rest else 0
    windows = []
    for rows, columns in rest:
        if len(rows) < max(least, 40) or np.ptp(rows) < 20:
            continue
        tall = 1.3 * np.ptp(rows)
        half, middle = max(0.65 * np.ptp(columns), 0.3 * tall), (columns.min() + columns.max()) / 2
        top = rows.min() - 0.15 * tall
        windows.append(_clipped((np.array([middle - half, top, middle + half, top + tall]) * scale).tolist(), size))
    return windows


def _columns(size: tuple[int, int]) -> list[Box]:
    """Columns of a wide photo of `size` (width, height), from left to right."""
    width, height = size
    wide = min(width, round(COLUMN * height))
    count = min(COLUMNS, 1 + int(np.ceil((width - wide) / (STEP * height))))
    starts = np.linspace(0, width - wide, count).round().astype(int).tolist()
    return [(start, 0, start + wide, height) for start in starts]


def _clipped(box: Sequence[float], size: tuple[int, int]) -> Box:
    """The part of a box that lies in a photo of `size` (width, height), at least a pixel."""
    left, top = min(max(0, int(box[0])), size[0] - 1), min(max(0, int(box[1])), size[1] - 1)
    return left, top, max(left + 1, min(size[0], int(box[2]))), max(top + 1, min(size[1], int(box[3])))


def distinct(found: Sequence[Person]) -> list[Person]:
    """Keep each person once, as they are seen best; longest trunk first."""
    kept: list[Person] = []
    for one in sorted(found, key=lambda one: -one.seen.all):
        if one.seen.person and not any(same(one, other) for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda one: -one.trunk)


def same(one: Person, other: Person) -> bool:
    """Tell whether two trunks are one person's."""
    first, second = trunk_of(one.joints), trunk_of(other.joints)
    away = ((first.shoulders + first.hips) - (second.shoulders + second.hips)) / 2
    return bool(np.hypot(*away) < APART * max(first.tall, second.tall))


def inside(one: Person, box: Box) -> bool:
    """Tell whether the middle of a trunk lies in a box."""
    trunk = trunk_of(one.joints)
    column, row = (trunk.shoulders + trunk.hips) / 2
    return bool(box[0] <= column < box[2] and box[1] <= row < box[3])
