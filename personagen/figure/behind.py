"""What a person's back shows, guessed from the front: cloth without openings and prints, hair instead of a face."""

import numpy as np
from PIL import Image, ImageFilter

from ..images import dilate, erode
from ..person.joints import Joint
from ..person.parts import Part
from .maps import CELL
from .paint import GARMENT, HAIR_RIM, RIM, Canvas, Sheet, completed, spread_over

SHARE = 0.25
"""Share of a row of the trunk from which what is worn outermost there goes round it."""
LONG = 0.04
"""How far below the neck hair goes that hangs on the back, too, metres."""
NAPE = 0.075
"""How far below the tip of the nose short hair ends behind, metres."""
BALD = 0.0025
"""Square metres of hair below which a head has none."""
STRANDS, FINE_HAIR = 0.008, 0.5
"""Metres below which detail of hair is kept behind, and how much of it."""
PRINT = (0.02, 0.30)
"""Share of a garment that a print covers; what covers more is its pattern."""
LOCAL = 0.6
"""Share of a garment's surface that a print does not reach."""
DEVIATES = 45.0
"""Difference from the middle colour of its row, of 255, of what is a print."""

PLACKET, OFF, BENDS = 0.012, 0.07, 2
"""Metres to each side that a zip or a row of buttons takes, how far it is from the middle of the trunk at most, and
pixels by which it bends a row."""
STANDS_OUT = 3.0
"""How much more a closure differs from the cloth beside it than the cloth does in itself."""


def back_sheet(canvas: Canvas, front: Sheet) -> Sheet:
    """Paint the back of head, trunk and legs from their front."""
    classes = _trunk(canvas, front.classes.copy())
    classes, hair = _head(canvas, classes)
    changed = (classes != front.classes) & _near(canvas)
    sure = _sure(canvas)
    picture = front.picture
    for number in np.unique(classes[changed]) if changed.any() else []:
        hole = changed & (classes == number)
        known = sure & (canvas.classes == number)
        known &= hair if number == Part.HEAD and (known & hair).any() else known
        reach = round(RIM / CELL)
        hole = dilate(hole, up=reach, down=reach, side=reach) & (classes == number)
        if not known.any():
            continue
        base = spread_over(front.picture, canvas.fine(known))
        fine = canvas.fine(hole)
        picture = np.where(fine[..., None], base, picture)
        found = completed(picture, front.picture, canvas.fine(known), fine)
        if number == Part.HEAD:  # little hair is seen, and would be repeated
            found = np.where(fine[..., None], _softened(base, found, canvas.scale), found)
        picture = found
    for number in np.unique(classes[classes >= GARMENT]).tolist():
        picture = _without_print(canvas, _without_closure(canvas, picture, classes, number), classes, number)
    return Sheet(picture, classes)


def _softened(base: np.ndarray, found: np.ndarray, scale: float) -> np.ndarray:
    """Smooth colours (H, W, 3) with some of what is finer in others."""
    blurred = np.asarray(Image.fromarray(found).filter(ImageFilter.GaussianBlur(STRANDS * scale)), np.int16)
    return (base + FINE_HAIR * (found.astype(np.int16) - blurred)).clip(0, 255).astype(np.uint8)


def _near(canvas: Canvas) -> np.ndarray:
    reach = round(0.02 / CELL)
    return dilate(canvas.maps.person, up=reach, down=reach, side=reach)


def _sure(canvas: Canvas) -> np.ndarray:
    """Cells whose colours are not mixed with others, bool (h, w)."""
    rim = round(RIM / CELL)
    seen = canvas.maps.person & ~canvas.maps.groups["left arm"] & ~canvas.maps.groups["right arm"]
    return erode(seen, up=rim, down=rim, side=rim)


def _trunk(canvas: Canvas, classes: np.ndarray) -> np.ndarray:
    """Close necklines and open coats: what is worn outermost in a row of the trunk goes round it; long hair hangs."""
    maps = canvas.maps
    trunk, front = maps.groups["trunk"], classes.copy()
    ranks = np.zeros(int(front.max()) + 1, int)
    for number in np.unique(front).tolist():
        ranks[number] = canvas.rank(number)
    for row in np.flatnonzero(trunk.any(1)):
        there = np.flatnonzero(trunk[row])
        values, counts = np.unique(front[row, there], return_counts=True)
        worn = values[(counts >= SHARE * len(there)) & (ranks[values] > 0)]
        if worn.size:
            outer = worn[ranks[worn].argmax()]
            lower = ranks[front[row]] < ranks[outer]
            lower[: there[0]] = lower[there[-1] + 1 :] = False
            classes[row, lower] = outer
    hair = (front == Part.HEAD) & trunk
    if hair.any():
        neck = maps.y[np.flatnonzero(maps.groups["head"].any(1))[-1]] if maps.groups["head"].any() else maps.top
        lowest = np.flatnonzero(hair.sum(1) * CELL > 0.02)
        if lowest.size and neck - maps.y[lowest[-1]] > LONG:
            classes[_mane(hair, maps.groups["head"], lowest[-1])] = Part.HEAD
    return classes


def _mane(hair: np.ndarray, head: np.ndarray, lowest: int) -> np.ndarray:
    """Where long hair hangs behind, bool (h, w): as wide as the head, narrower and round towards its end."""
    columns = np.flatnonzero(head.any(0))
    rows = np.flatnonzero(head.any(1))
    middle, half = columns.mean(), max(0.08 / CELL, 0.45 * len(columns))
    y, x = np.mgrid[: hair.shape[0], : hair.shape[1]]
    share = ((y - rows[-1]) / max(1, lowest - rows[-1])).clip(0, 1)
    return (y >= rows[-1]) & (y <= lowest) & (np.abs(x - middle) <= half * np.sqrt(1.02 - share**3))


def _head(canvas: Canvas, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the back of a head hair down to the nape; return the classes, and where hair to take it from is (h, w)."""
    maps = canvas.maps
    nose = maps.joints[Joint.NOSE]
    x, y = np.meshgrid(maps.x, maps.y)
    head = maps.groups["head"]
    rim = round(HAIR_RIM / CELL)
    inside = erode(maps.person, up=rim, down=rim, side=rim)
    hair = head & (maps.parts == Part.HEAD) & inside & ((y > nose[1] + 0.045) | (np.abs(x - nose[0]) > 0.065))
    if hair.sum() * CELL**2 < BALD:
        hair = head & (maps.parts == Part.HEAD) & inside & (y > nose[1] + 0.03)
    if hair.sum() * CELL**2 < BALD / 4:
        return classes, hair
    long = (maps.parts == Part.HEAD) & (y < nose[1] - NAPE - 0.03) & maps.person
    ends = y[long].min() if long.sum() * CELL**2 > 0.002 else nose[1] - NAPE
    wide = np.abs(x - nose[0]) < 0.10
    behind = _near(canvas) & (y > ends) & (y > nose[1] - 0.25) & (wide | head)
    neck = y < nose[1] - NAPE
    behind &= ~neck | (np.isin(classes, (Part.SKIN, Part.HEAD)) & head)
    classes[behind & (y > maps.joints[[1, 2], 1].mean())] = Part.HEAD
    return classes, hair


def _without_print(canvas: Canvas, picture: np.ndarray, classes: np.ndarray, number: int) -> np.ndarray:
    """Complete a print on the chest away; rows keep stripes, and what covers much of the cloth is its pattern."""
    trunk = canvas.fine(canvas.maps.groups["trunk"] & (classes == number) & _sure(canvas))
    if trunk.sum() < 400:
        return picture
    odd = np.zeros_like(trunk)
    for row in np.flatnonzero(trunk.any(1)):
        colours = picture[row][trunk[row]].astype(float)
        odd[row, trunk[row]] = np.abs(colours - np.median(colours, 0)).max(1) > DEVIATES
    share = odd.sum() / trunk.sum()
    if not PRINT[0] <= share <= PRINT[1] or _everywhere(odd, trunk):
        return picture
    reach = max(2, round(0.006 * canvas.scale))
    hole = dilate(erode(odd, up=1, down=1, side=1), up=reach, down=reach, side=reach) & trunk
    return completed(picture, picture, trunk & ~hole, hole)


def _without_closure(canvas: Canvas, picture: np.ndarray, classes: np.ndarray, number: int) -> np.ndarray:
    """Complete a zip or a row of buttons away: what runs down the middle of the trunk, unlike both sides."""
    trunk = canvas.fine(canvas.maps.groups["trunk"] & (classes == number) & _sure(canvas))
    rows = np.flatnonzero(trunk.sum(1) > 4 * PLACKET * canvas.scale)
    if len(rows) < 0.15 * canvas.scale:
        return picture
    wide = 2 * round(PLACKET * canvas.scale) + 1
    kernel = np.ones(wide) / wide
    grey = picture.astype(float).mean(-1)
    beside = np.stack([np.convolve(np.pad(row, wide // 2, mode="edge"), kernel, "valid") for row in grey[rows]])
    odd = np.where(trunk[rows], np.abs(grey[rows] - beside), 0)
    columns = np.arange(grey.shape[1])
    middle = np.array([columns[row].mean() for row in trunk[rows]])
    near = trunk[rows] & (np.abs(columns - np.median(middle)) < OFF * canvas.scale)
    path = _path(np.where(near, odd, -1e3))
    along = odd[np.arange(len(rows)), path]
    if np.mean(along > STANDS_OUT * odd[trunk[rows]].mean()) < LOCAL:
        return picture
    hole = np.zeros_like(trunk)
    hole[rows] = np.abs(columns - path[:, None]) <= wide // 2
    hole = dilate(hole, up=2, down=2, side=0) & trunk
    return completed(picture, picture, trunk & ~hole, hole)


def _path(gain: np.ndarray) -> np.ndarray:
    """The column (h,) of each row on the way down (h, w) that gains most and bends by `BENDS` pixels a row at most."""
    best, steps = gain[0], []
    shifts = range(-BENDS, BENDS + 1)
    for row in gain[1:]:
        padded = np.pad(best, BENDS, constant_values=-1e9)
        options = np.stack([padded[BENDS + shift : BENDS + shift + len(row)] for shift in shifts])
        steps.append(options.argmax(0) - BENDS)
        best = options.max(0) + row
    path = [int(best.argmax())]
    for step in reversed(steps):
        path.append(int(path[-1] + step[path[-1]]))
    return np.array(path[::-1])


def _everywhere(odd: np.ndarray, cloth: np.ndarray) -> bool:
    """Tell whether odd places, bool (H, W), lie all over the cloth, as a pattern does and a print does not."""
    rows, columns = np.flatnonzero(cloth.any(1)), np.flatnonzero(cloth.any(0))
    blocks = [
        (odd[i][:, j].sum(), cloth[i][:, j].sum()) for i in np.array_split(rows, 6) for j in np.array_split(columns, 6)
    ]
    whole = [(marked, size) for marked, size in blocks if size > 0.3 * cloth.sum() / 36]
    return bool(np.mean([marked > 0.02 * size for marked, size in whole]) > LOCAL)


def from_back_photo(canvas: Canvas, front: Sheet, back: Canvas, sheet: Sheet) -> Sheet:
    """The back as a photo of the back shows it, mirrored and laid on the outline of the front, row by row."""
    mask, other = canvas.maps.person, back.maps.person[:, ::-1]
    picture = spread_over(sheet.picture, back.fine(back.maps.person))[:, ::-1]
    classes = sheet.classes[:, ::-1]
    at = _across(mask, other, canvas.maps.y, back.maps.y)
    rows = np.round(np.interp(np.arange(canvas.size[0]) / canvas.size[0] * len(at[0]), np.arange(len(at[0])), at[0]))
    out = np.empty_like(front.picture)
    scale = [picture.shape[0] / len(other), picture.shape[1] / other.shape[1]]
    columns = np.arange(canvas.size[1]) / canvas.size[1] * mask.shape[1]
    for row in range(canvas.size[0]):
        cell = min(len(mask) - 1, int(row / canvas.size[0] * len(mask)))
        to = (at[1][cell] * columns + at[2][cell]) * scale[1]
        out[row] = picture[int(rows[row] * scale[0]) % len(picture), to.astype(int).clip(0, picture.shape[1] - 1)]
    found = np.empty_like(front.classes)
    for row in range(len(mask)):
        to = at[1][row] * np.arange(mask.shape[1]) + at[2][row]
        found[row] = classes[int(at[0][row]), to.astype(int).clip(0, classes.shape[1] - 1)]
    return Sheet(out, found)


def _across(
    mask: np.ndarray, other: np.ndarray, y: np.ndarray, other_y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each row of a mask (h, w) the row of another and how columns are stretched and moved to it."""
    rows = np.interp(-y, -other_y, np.arange(len(other_y))).round().astype(int)
    stretch, shift = np.ones(len(mask)), np.zeros(len(mask))
    for row in range(len(mask)):
        here, there = np.flatnonzero(mask[row]), np.flatnonzero(other[rows[row]])
        if here.size > 3 and there.size > 3:
            stretch[row] = (there[-1] - there[0]) / (here[-1] - here[0])
            shift[row] = there[0] - stretch[row] * here[0]
    return rows.astype(float), stretch, shift
