"""Garments are laid where the joints are, and what was worn before leaves no trace."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from personagen.atelier.body import Body as Figure
from personagen.atelier.garment import GarmentSpec
from personagen.atelier.render import LABEL, render_garment, render_person
from personagen.atelier.trace import portrait
from personagen.corpora.renders import joints_of_figure
from personagen.images import components
from personagen.person.body import Body
from personagen.person.joints import MIRRORED, Joint
from personagen.person.parts import Part
from personagen.warping.flat_garment import garment_of
from personagen.warping.inpaint import spread
from personagen.warping.lay import lay
from personagen.warping.outline import Top
from personagen.warping.uncover import uncover
from recsys.errors import DataError

from ..figures import joints_of_standing, standing

SIZE = (128, 96)


def garment(*, sleeve: int) -> Image.Image:
    """A red top on white with green sleeves that reach so far out."""
    picture = Image.new("RGB", (460, 300), "white")
    draw = ImageDraw.Draw(picture)
    draw.polygon([(180, 40), (280, 40), (282, 200), (178, 200)], fill=(220, 20, 20))
    for side in (-1, 1):
        out = lambda x, side=side: 230 + side * x
        down = sleeve
        draw.polygon([(out(50), 40), (out(50), 85), (out(36 + sleeve), 60 + down), (out(50 + sleeve), 46 + down)],
                     fill=(20, 180, 20))  # fmt: skip
    return picture


def alpha_of(layer: Image.Image) -> np.ndarray:
    return np.asarray(layer)[..., 3]


def test_trunk_and_sleeves_follow_the_joints():
    joints = joints_of_standing()
    short, long = (np.asarray(lay(garment(sleeve=n), "upper", joints, SIZE)).astype(int) for n in (20, 95))
    assert short.shape == (128, 96, 4)
    for layer in (short, long):
        assert (layer[30:50, 46:50, 3] > 250).all() and (layer[30:50, 46:50, 0] > 150).all()
        assert not layer[:14, :, 3].any() and not layer[90:, :, 3].any()
    left_wrist, left_elbow = joints[Joint.LEFT_WRIST, :2].astype(int), joints[Joint.LEFT_ELBOW, :2].astype(int)
    green = lambda layer, x, y: layer[y, x, 3] > 200 and layer[y, x, 1] > layer[y, x, 0]
    assert green(long, left_elbow[0], left_elbow[1]) and not green(short, left_wrist[0], left_wrist[1] - 3)
    assert green(long, left_wrist[0] - 1, left_wrist[1] - 4)
    assert not long[left_wrist[1] + 4 :, left_wrist[0] - 3 : left_wrist[0] + 4, 3].any()


def test_a_bent_arm_takes_its_sleeve_along_and_size_does_not_matter():
    joints = joints_of_standing()
    joints[Joint.LEFT_WRIST, :2] = (78, 40)
    bent = lay(garment(sleeve=95), "upper", joints, SIZE)
    assert alpha_of(bent)[39:41, 70:76].min() > 200 and not alpha_of(bent)[56:60, 62:66].any()
    large = lay(garment(sleeve=95), "upper", joints * [4, 4, 1], (512, 384))
    small = np.asarray(large.resize((96, 128), Image.Resampling.BOX))[..., 3].astype(float)
    assert np.abs(small - alpha_of(bent)).mean() < 3


def test_a_hood_rises_above_the_shoulders():
    plain, hooded = garment(sleeve=95), garment(sleeve=95)
    ImageDraw.Draw(hooded).ellipse([(200, 5), (260, 60)], fill=(220, 20, 20))
    outline = {"shown": np.zeros((300, 460), np.uint8)}  # it alone is asked
    layers = [alpha_of(lay(top, "sweater", joints_of_standing(), (256, 192), **outline)) for top in (plain, hooded)]
    first = [layer.any(1).argmax() for layer in layers]
    sides = [layer > 200 for layer in layers]
    assert first[1] < first[0] - 2
    assert abs(int(sides[0][:, 40].argmax()) - int(sides[1][:, 40].argmax())) <= 1


def test_trousers_go_down_the_legs_and_a_skirt_hangs_between():
    trousers, skirt = (Image.new("RGB", (260, 300), "white") for _ in range(2))
    for polygon in ([(80, 20), (130, 20), (120, 280), (70, 280)], [(130, 20), (180, 20), (190, 280), (140, 280)]):
        ImageDraw.Draw(trousers).polygon(polygon, fill="navy")
    ImageDraw.Draw(skirt).polygon([(90, 20), (170, 20), (190, 160), (70, 160)], fill="navy")
    legs, one = (alpha_of(lay(picture, "lower", joints_of_standing(), SIZE)) for picture in (trousers, skirt))
    for x in (43, 53):
        assert (legs[62:112, x] > 200).all() and not legs[124:, x].any()
    assert (one[56:66, 44:52] > 200).all() and not one[112:].any() and not one[:44].any()


def test_seen_from_behind_it_is_laid_alike():
    joints, top = joints_of_standing(), garment(sleeve=95)
    assert lay(top, "upper", joints, SIZE) == lay(top, "upper", joints[MIRRORED], SIZE)


def test_a_white_picture_is_refused():
    with pytest.raises(DataError, match="no cloth"):
        lay(Image.new("RGB", (60, 80), "white"), "upper", joints_of_standing(), SIZE)


def test_known_colours_are_spread_and_stay():
    picture = torch.rand(3, 40, 30, generator=torch.Generator().manual_seed(0))
    known = np.zeros((40, 30), bool)
    known[:, :4] = True
    filled = spread(picture, known)
    assert filled is not None and torch.allclose(filled[:, :, :4], picture[:, :, :4], atol=1e-6)
    low, high = picture[:, :, :4].amin(), picture[:, :, :4].amax()
    assert filled.min() >= low - 1e-6 and filled.max() <= high + 1e-6
    flat = spread(torch.full((3, 17, 23), 0.3), np.eye(17, 23, dtype=bool))
    assert flat is not None and torch.allclose(flat, torch.full((3, 17, 23), 0.3), atol=1e-5)
    assert spread(picture, np.zeros((40, 30), bool)) is None


PAINT = np.array([[90, 120, 90], [60, 30, 10], [240, 190, 150], [200, 20, 20], [20, 20, 200], [0, 0, 0], [0, 0, 0],
                  [30, 30, 30], [5, 5, 5], [9, 9, 9]], np.uint8)  # fmt: skip


@pytest.mark.parametrize("region, part", [("upper", Part.UPPER), ("lower", Part.LOWER), ("dress", Part.UPPER)])
def test_nothing_of_the_old_garment_is_left(region, part):
    parts = standing(lower=108)
    parts[26:58, 60:66] = part  # a sleeve, or something wide
    parts[14:20, 44:52] = Part.SKIN
    garment = parts == part
    pictures = []
    for colour in ((200, 20, 20), (20, 200, 220)):
        picture = PAINT[parts]
        picture[garment] = colour
        photo = Image.fromarray(picture)
        pictures.append(np.asarray(uncover(photo, Body(parts, joints_of_standing()), garment, region=region)[0]))
    assert np.array_equal(pictures[0], pictures[1])
    result = pictures[0].astype(int)
    assert np.array_equal(result[:, :20], PAINT[parts][:, :20])
    if region == "upper":
        assert (result[40:55, 45:51, 2] > 120).all()  # trousers are guessed to go on
        assert (result[30:40, 60, 0] > 150).all()  # and an arm is bare
    if region == "lower":
        assert (result[80:100, 43, 0] > 120).all()  # so is a leg


def test_an_arm_in_a_sleeve_does_not_show_beside_it():
    parts, joints = standing(lower=108), joints_of_standing()
    parts[26:58, 56:72] = Part.UPPER  # a wide sleeve
    parts[14:20, 44:52] = Part.SKIN
    parts, joints = np.kron(parts, np.ones((4, 4), np.uint8)), joints * [4, 4, 1]
    hidden = np.zeros(parts.shape, bool)
    for y in range(4 * 20, 4 * 60):
        x = round(np.interp(y, *joints[[Joint.LEFT_SHOULDER, Joint.LEFT_ELBOW, Joint.LEFT_WRIST], 1::-1].T))
        hidden[y, x - 3 : x + 4] = True  # a narrow one will lie over it
    photo, beside = Image.fromarray(PAINT[parts]), (slice(185, 200), slice(252, 254))
    arm = lambda **more: np.asarray(
        uncover(photo, Body(parts, joints), parts == Part.UPPER, region="upper", **more)[0]
    )[beside]
    assert (arm()[..., 0] > 170).all() and np.abs(arm(hidden=hidden).astype(int) - PAINT[0]).max() < 20


@pytest.mark.parametrize("kind, least", [("t-shirt", 0.8), ("sweater", 0.85), ("dress", 0.8), ("skirt", 0.75),
                                         ("trousers", 0.85), ("shorts", 0.75)])  # fmt: skip
def test_a_garment_lies_where_it_would_be_worn(kind, least):
    """The same figure is rendered in the very garment."""
    figure, size = Figure(arms=((20.0, 12.0), (24.0, 30.0))), (256, 192)
    sleeve = {"t-shirt": 0.34, "sweater": 0.97}.get(kind, 0.0)
    spec = GarmentSpec(kind, "red", sleeve=sleeve)
    camera = portrait(figure.height)
    beside = (GarmentSpec("t-shirt", "blue", sleeve=0.34),) if spec.region == "lower" else ()
    truth = render_person(figure, (*beside, spec), "studio", size=size, camera=camera)
    layer = lay(Image.fromarray(render_garment(spec, size=size)), kind, joints_of_figure(figure, camera, size), size)
    cloth, covered = truth.labels == LABEL[spec.region], alpha_of(layer) > 127
    covered &= truth.labels != LABEL["upper"] if beside else True
    assert (cloth & covered).sum() / (cloth | covered).sum() > least


def test_trunk_and_sleeves_hang_together():
    layer = alpha_of(lay(garment(sleeve=60), "upper", joints_of_standing() * [4, 4, 1], (512, 384))) > 127
    assert components(layer)[0].sum() > 0.99 * layer.sum()


def test_a_loop_or_a_waistband_askew_does_not_make_a_skirt_a_sheet():
    plain = Image.new("RGB", (300, 300), "white")
    ImageDraw.Draw(plain).polygon([(100, 60), (200, 60), (230, 220), (70, 220)], fill=(20, 20, 160))
    looped = plain.copy()
    ImageDraw.Draw(looped).rectangle([104, 52, 108, 62], fill=(20, 20, 160))
    a, b = (alpha_of(lay(one, "skirt", joints_of_standing(), SIZE)) > 127 for one in (plain, looped))
    assert (a & b).sum() / (a | b).sum() > 0.8 and b.sum() < 1.2 * a.sum()


def test_a_skirt_that_lies_squat_reaches_the_thighs():
    """What lies flat is as wide as half its girth, and seems shorter than it is."""
    picture = Image.new("RGB", (300, 300), "white")
    ImageDraw.Draw(picture).polygon([(60, 90), (240, 90), (250, 200), (50, 200)], fill=(20, 20, 160))
    joints = joints_of_standing()
    rows = np.flatnonzero((alpha_of(lay(picture, "skirt", joints, SIZE)) > 127).any(1))
    tall = joints[Joint.LEFT_HIP, 1] - joints[Joint.LEFT_SHOULDER, 1]
    assert rows[-1] + 1 - rows[0] > 0.7 * tall


@pytest.mark.parametrize("stripe", [2, 5])
def test_cloth_that_is_drawn_smaller_is_averaged_first(stripe):
    picture = np.full((600, 920, 3), 255, np.uint8)
    cloth = picture[80:400, 360:560]
    cloth[:] = np.where(np.arange(320)[:, None, None] // stripe % 2, (200, 20, 20), (20, 20, 120))
    laid = np.asarray(lay(Image.fromarray(picture), "upper", joints_of_standing(), SIZE))
    tall = int((laid[..., 3] > 127).any(1).sum())
    edges = lambda shown: np.square(np.diff(shown[..., :3].astype(float), 2, axis=0)).mean()
    shrunk, dropped = (
        edges(np.asarray(Image.fromarray(cloth).resize((27, tall), how)))
        for how in (Image.Resampling.BOX, Image.Resampling.NEAREST)
    )
    assert edges(laid[30:52, 42:54]) < 1.3 * shrunk + 100 < dropped / 4


def test_a_skirt_in_two_pieces_is_laid():
    picture = Image.new("RGB", (200, 260), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((60, 40, 140, 90), fill="navy")
    draw.rectangle((50, 96, 150, 220), fill="navy")
    layer = lay(picture, "skirt", joints_of_standing(), SIZE)
    assert alpha_of(layer)[68:80, 46:50].all()


def test_a_wide_sleeve_lies_close_to_the_arm_and_its_shoulder_does_not_puff():
    """What lies flat is as wide as half its girth."""
    picture = garment(sleeve=60)
    for side in (-1, 1):
        out = [(230 + side * x, y) for x, y in ((50, 40), (50, 150), (70, 170), (130, 80))]
        ImageDraw.Draw(picture).polygon(out, fill=(20, 180, 20))
    joints = joints_of_standing() * [4, 4, 1]
    wide, across = alpha_of(lay(picture, "t-shirt", joints, (512, 384))) > 127, 4 * 18
    for row in range(4 * 20, 4 * 34):
        columns = np.flatnonzero(wide[row])
        if columns.size:
            assert 4 * 48 - columns[0] < 0.92 * across and columns[-1] - 4 * 48 < 0.92 * across


def top_with_sleeves(left: int, right: int) -> Image.Image:
    """A red t-shirt on white whose green sleeves stand out so far from its shoulders, slanting down."""
    picture = Image.new("RGB", (460, 300), "white")
    draw = ImageDraw.Draw(picture)
    draw.polygon([(170, 40), (290, 40), (290, 220), (170, 220)], fill=(220, 20, 20))
    for x, sign, long in ((170, -1, left), (290, 1, right)):
        cuff = [(x + sign * long, 40 + long // 2), (x + sign * (long - 18), 76 + long // 2)]
        draw.polygon([(x, 40), *cuff, (x, 95)], fill=(20, 180, 20))
    return picture


def green_rows(laid: Image.Image) -> list[int]:
    """The lowest rows of green on either side of a picture."""
    layer = np.asarray(laid).astype(int)
    green = (layer[..., 3] > 200) & (layer[..., 1] > layer[..., 0] + 60)
    middle = layer.shape[1] // 2
    return [int(np.flatnonzero(half.any(1))[-1]) for half in (green[:, :middle], green[:, middle:])]


def test_short_sleeves_end_well_above_the_elbows_and_are_equally_long():
    joints = joints_of_standing() * [4, 4, 1]
    shoulder, elbow = joints[Joint.LEFT_SHOULDER, 1], joints[Joint.LEFT_ELBOW, 1]
    for left, right in ((50, 50), (42, 58)):
        rows = green_rows(lay(top_with_sleeves(left, right), "t-shirt", joints, (512, 384)))
        assert abs(rows[0] - rows[1]) < 0.08 * (elbow - shoulder)
        assert all(0.5 < (row - shoulder) / (elbow - shoulder) < 0.95 for row in rows)


@pytest.mark.parametrize("out, sleeves", [(86, 0), (100, 2)])
def test_a_strip_along_the_trunk_is_no_sleeve(out, sleeves):
    """It would be drawn along the whole arm."""
    picture = Image.new("RGB", (460, 300), "white")
    edge = [(60, 36), (out, 60), (out - 3, 90), (72, 110), (74, 260)]
    both = [(230 - x, y) for x, y in reversed(edge)] + [(230 + x, y) for x, y in edge]
    ImageDraw.Draw(picture).polygon(both, fill=(220, 20, 20))
    top = garment_of(picture, "t-shirt", shown=np.zeros((300, 460), np.uint8)).outline
    assert isinstance(top, Top) and len(top.sleeves) == sleeves


@pytest.mark.parametrize("x, inside", [(230, True), (184, False)])
def test_a_hole_is_cloth_in_the_middle_of_a_trunk_alone(x, inside):
    picture = garment(sleeve=95)
    ImageDraw.Draw(picture).ellipse([x - 3, 112, x + 3, 132], fill="white")
    found = garment_of(picture, "sweater", shown=np.zeros((300, 460), np.uint8)).sources[0][3]
    assert bool(found[122, x] > 0.9) == inside


def test_legs_that_come_to_light_are_no_wider_than_what_was_worn_and_reach_the_shoes():
    parts, joints = np.zeros((512, 384), np.uint8), joints_of_standing() * [4, 4, 1]
    parts[: standing().shape[0] * 4] = np.kron(standing(), np.ones((4, 4), np.uint8))
    parts[4 * 14 : 4 * 20, 4 * 44 : 4 * 52] = Part.SKIN
    legs = np.zeros(parts.shape, bool)
    for x in (43, 53):
        legs[4 * 60 : 4 * 121, 4 * x - 6 : 4 * x + 6] = True
    parts[legs] = Part.LOWER
    parts[4 * 121 :, 4 * 40 : 4 * 56] = Part.SHOES
    photo = Image.fromarray(PAINT[parts])
    found = np.asarray(uncover(photo, Body(parts, joints), parts == Part.LOWER, region="lower")[0]).astype(int)
    skin = np.abs(found - PAINT[Part.SKIN]).sum(-1) < 150
    assert skin[4 * 80 : 4 * 120, 4 * 43].all()
    assert not skin[4 * 66 : 4 * 110, 4 * 43 + 12 : 4 * 53 - 12].any()


def test_two_legs_that_touch_are_told_apart():
    picture = Image.new("RGB", (300, 400), "white")
    for side in (-1, 1):
        out = [(150 + side * x, y) for x, y in ((0, 40), (50, 40), (62, 370), (8, 370), (0, 150))]
        ImageDraw.Draw(picture).polygon(out, fill=(120, 120, 120))
    joints = joints_of_standing() * [4, 4, 1]
    joints[[Joint.LEFT_KNEE, Joint.LEFT_ANKLE], 0] = 4 * 48 + 7
    joints[[Joint.RIGHT_KNEE, Joint.RIGHT_ANKLE], 0] = 4 * 48 - 7
    layer = np.asarray(lay(picture, "trousers", joints, (512, 384))).astype(int)
    row = layer[4 * 88]
    laid = np.flatnonzero(row[:, 3] > 200)
    assert (np.diff(laid) == 1).all() and row[4 * 48 - 12 : 4 * 48 + 13, 0].min() < 0.85 * row[laid, 0].max()
