"""A figure of a person of the atelier: closed layers, the picture's front, a back that is one, and poses."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from personagen.atelier.body import Body
from personagen.atelier.garment import GarmentSpec
from personagen.atelier.render import LABEL, render_person
from personagen.atelier.trace import Camera, portrait
from personagen.corpora.renders import body_of_render
from personagen.figure.build import Dressed, build_figure
from personagen.figure.geometry import fit_normals
from personagen.figure.mesh import Figure, normals, unlit
from personagen.figure.nets import open_edges
from personagen.figure.poses import POSES, take_pose
from personagen.figure.raster import render
from personagen.figure.rig import stretch
from personagen.figure.shell import Goal, Shell
from personagen.figure.texels import look
from recsys.errors import DataError

RED, BLUE = (200, 40, 40), (40, 60, 190)


@pytest.fixture(scope="module")
def dressed() -> Dressed:
    person, camera = Body(), portrait(1.7)
    outfit = (GarmentSpec("t-shirt", colour="red"), GarmentSpec("trousers", colour="blue"))
    picture = render_person(person, outfit, "studio", size=(384, 288), camera=camera)
    body = body_of_render(picture, person, camera)
    covers = {"trousers": picture.labels == LABEL["lower"], "t-shirt": picture.labels == LABEL["upper"]}
    assert body.joints is not None
    return Dressed(Image.fromarray(picture.image), body.parts, body.joints, covers, picture.labels > 0)


@pytest.fixture(scope="module")
def figure(dressed) -> Figure:
    return build_figure(dressed)


def colour(figure: Figure, azimuth: float, layer: str) -> np.ndarray:
    """The mean colour of a layer as it is seen from an azimuth."""
    view = render(figure, Camera(azimuth=azimuth), size=(160, 120))
    texture = np.repeat(np.repeat(view.image, 2, 0), 2, 1)
    return texture[view.layer == [one.name for one in figure.layers].index(layer)].mean(0) * 255


def starts(figure: Figure) -> np.ndarray:
    """Where each layer's vertices begin among those of all."""
    return np.cumsum([0, *(len(layer.vertices) for layer in figure.layers[:-1])])


def front_changed(one: Figure, other: Figure) -> float:
    """Share of the front's pixels in which two figures differ."""
    shown = [look(figure, 0, (256, 192)).view.image for figure in (one, other)]
    return float((np.abs(shown[0] - shown[1]).max(2) > 2 / 255).mean())


def test_layers_are_named_closed_and_share_a_texture(figure):
    assert [layer.name for layer in figure.layers][-2:] == ["trousers", "t-shirt"]
    assert {layer.kind for layer in figure.layers} == {"body", "trousers", "t-shirt"}
    assert figure.report["open edges"] == 0
    assert 40 < figure.report["litres"] < 110
    for layer in figure.layers:
        assert layer.uv.min() >= 0 and layer.uv.max() <= 1 and layer.faces.max() < len(layer.vertices)
        assert layer.weights is not None and np.allclose(layer.weights.sum(1), 1, atol=1e-4)
    assert max(figure.texture.size) <= 2048


def test_the_front_is_the_picture(figure):
    assert figure.report["front iou"] > 0.95
    assert figure.report["inner psnr"] > 24
    assert figure.report["garment hidden"] < 0.02


def test_cloth_goes_round_and_the_back_has_no_face(figure):
    for kind in ("t-shirt", "trousers"):
        front, back = colour(unlit(figure), 0, kind), colour(unlit(figure), 180, kind)
        assert np.abs(front - back).max() < 40
        assert colour(figure, 180, kind).mean() < 0.8 * back.mean()  # where the photo's light does not reach
    view = render(figure, Camera(azimuth=180), size=(160, 120))
    rows = np.flatnonzero(view.mask.any(1))
    head = view.image[rows[0] + 4 : rows[0] + 12][view.mask[rows[0] + 4 : rows[0] + 12]] * 255
    face = render(figure, Camera(), size=(160, 120)).image[rows[0] + 8 : rows[0] + 14, 57:63].reshape(-1, 3) * 255
    assert head.mean() < face.mean() - 30  # hair, not skin


def test_feet_stand_on_the_ground(figure):
    low = min(float(layer.vertices[:, 1].min()) for layer in figure.layers)
    assert abs(low) < 0.015
    body = next(one for one in figure.layers if one.name == "body")
    feet = body.vertices[body.vertices[:, 1] < 0.02]
    assert np.ptp(feet[:, 2]) > 0.15  # from heels to toes


def test_garments_lie_over_the_body(figure):
    """What of the body goes on below a garment lies deeper than the cloth there, but for the line where both end."""
    view = render(figure, Camera(elevation=0.0), size=(256, 192))
    alone = Figure(tuple(one for one in figure.layers if one.kind != "t-shirt"), figure.texture)
    below = render(alone, Camera(elevation=0.0), size=(256, 192))
    cloth = view.layer == [one.name for one in figure.layers].index("t-shirt")
    hidden = cloth & (below.layer >= 0)
    assert hidden.any() and (below.near[hidden] < view.near[hidden] + 1e-3).all()


def test_arms_are_raised_without_torn_layers(figure):
    raised = take_pose(figure, POSES["arms raised"])
    top = lambda one: max(float(layer.vertices[:, 1].max()) for layer in one.layers)
    assert top(raised) > top(figure) + 0.15
    assert stretch(figure.layers, raised.layers, percentile=99.0) < 3


def test_layers_move_as_one_to_given_normals(figure):
    """A bump of 2 cm across the line where shirt and trousers meet behind, told by its normals from three sides."""
    waist, shell = np.array([0.0, 1.0]), Shell.of(figure)
    back = (normals(shell.points, shell.faces) * shell.rays).sum(1) < 0
    bump = -0.02 * np.exp(-0.5 * (((shell.points[:, :2] - waist) / 0.07) ** 2).sum(1)) * back
    true, goals = shell.moved(figure, bump), []
    for azimuth in (180, 135, -135):
        nothing = Goal(Camera(azimuth=azimuth), np.zeros((384, 288, 3)), np.ones((384, 288)))
        goals.append(replace(nothing, normals=Shell.of(true).seen(nothing).normals))
    fit = fit_normals(figure, goals)
    shown = bump < -0.001
    assert fit.explained > 0.4 and np.corrcoef(fit.depth[shown], bump[shown])[0, 1] > 0.95
    assert all(one.weights is other.weights for one, other in zip(figure.layers, fit.figure.layers))
    assert (
        sum(open_edges(shell.at[start:][layer.faces]) for start, layer in zip(starts(figure), fit.figure.layers)) == 0
    )
    for azimuth in (0, 90, 180, 270):  # what lies below goes on lying below, and the front is as it was
        one, other = (render(each, Camera(azimuth=azimuth), size=(256, 192)) for each in (figure, fit.figure))
        both = (one.layer >= 0) & (other.layer >= 0)
        assert (one.layer != other.layer)[both].mean() < (1e-4 if azimuth == 0 else 0.002)
    assert front_changed(figure, fit.figure) < 0.001


@pytest.mark.slow
def test_a_picture_without_garments_is_the_body_alone(dressed):
    bare = build_figure(Dressed(dressed.picture, dressed.parts, dressed.joints, {}, dressed.outline))
    assert {layer.kind for layer in bare.layers} == {"body"}


@pytest.mark.slow
def test_a_cut_off_picture_is_a_bust(dressed):
    low = int(dressed.joints[9:11, 1].mean())
    cut = Dressed(
        dressed.picture.crop((0, 0, dressed.picture.width, low)), dressed.parts[:low], dressed.joints,
        {kind: mask[:low] for kind, mask in dressed.covers.items()}, dressed.outline[:low],
    )  # fmt: skip
    figure = build_figure(cut, bust=True)
    top = max(float(layer.vertices[:, 1].max()) for layer in figure.layers)
    assert figure.report["open edges"] == 0 and 0.9 < top < 1.5


def test_a_photo_from_behind_is_the_back(dressed):
    mirrored = Dressed(
        Image.fromarray(255 - np.asarray(dressed.picture)[:, ::-1]), dressed.parts[:, ::-1],
        dressed.joints * [-1, 1, 1] + [dressed.picture.width, 0, 0],
        {kind: mask[:, ::-1] for kind, mask in dressed.covers.items()}, dressed.outline[:, ::-1],
    )  # fmt: skip
    turned = build_figure(dressed, back=mirrored)
    front, back = (colour(unlit(turned), azimuth, "t-shirt") for azimuth in (0, 180))
    assert np.abs(255 - front - back).max() < 50


def test_a_zip_stays_in_front(dressed):
    picture, cloth = np.asarray(dressed.picture).copy(), dressed.covers["t-shirt"]
    line = np.arange(cloth.shape[1]) == int(np.median(np.nonzero(cloth)[1]))
    picture[cloth & line] = 10
    zipped = build_figure(replace(dressed, picture=Image.fromarray(picture)))
    worn = [layer.name for layer in zipped.layers].index("t-shirt")
    dark = []
    for azimuth in (0, 180):
        view = render(unlit(zipped), Camera(azimuth=azimuth), size=(320, 240))
        dark.append(float((view.image[view.layer[::2, ::2] == worn].max(-1) < 0.3).mean()))
    assert dark[0] > 0.01 and dark[1] < 0.001, dark


def test_a_person_who_comes_apart_is_refused(dressed):
    hips = int(dressed.joints[7:9, 1].mean())
    parts, outline = dressed.parts.copy(), dressed.outline.copy()
    parts[hips : hips + 20], outline[hips : hips + 20] = 0, False
    with pytest.raises(DataError, match="comes apart"):
        build_figure(replace(dressed, parts=parts, outline=outline))
