"""A surface follows normals where the truth is known, and the front stays; models of both families, random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from PIL import Image

from personagen.figure import normals as room
from personagen.figure import refine
from personagen.figure.distil import Distilling, Score
from personagen.figure.distil_normals import distil_shape
from personagen.figure.geometry import LIMIT, conjugate, fit_normals
from personagen.figure.mesh import Figure, Layer
from personagen.figure.nets import Box, meshed, open_edges
from personagen.figure.normals import EXPLAINED, reshape, sides_unseen, taken
from personagen.figure.refine import VIEWS, Refining, Repainter
from personagen.figure.shell import Goal, Shell
from personagen.figure.texels import look, normal_map
from personagen.models import load_controlnet
from recsys.errors import ConfigError
from tests.apps.tiny import pipelines
from tests.personagen.subject import parts

from .puppet import puppet

WORDS = Refining("a person", strength=0.6, steps=4, guidance=1.5)
BEHIND = (180, 135, -135)
SIDE, SIZE = 0.015, (192, 144)


def ball(*, bump: float = 0.0, wide: float = 0.08) -> Figure:
    """A closed ball of 30 cm radius a metre above the ground; a bump behind, and its standard deviation, in metres."""
    grid = np.stack(np.meshgrid(*[(np.arange(48) - 23.5) * SIDE] * 3, indexing="ij"), -1)
    y, x, z = -grid[..., 0], grid[..., 1], grid[..., 2]
    away = np.exp(-0.5 * (x**2 + y**2) / wide**2)
    field = np.linalg.norm(grid, axis=-1) - 0.3 - bump * away * (z < 0)
    surface = meshed(field, Box(-24 * SIDE, 1 + 24 * SIDE, -24 * SIDE, SIDE))
    uv = np.zeros((len(surface.vertices), 2), np.float32)
    return Figure((Layer("body", surface.vertices, surface.faces, uv),), Image.new("RGB", (8, 8)))


def seen_of(figure: Figure, azimuth: float, like: Figure) -> Goal:
    """What a camera around a figure sees of another one."""
    size = (2 * SIZE[0], 2 * SIZE[1])
    nothing = Goal(look(like, azimuth, SIZE).camera, np.zeros((*size, 3)), np.ones(size))
    sight = Shell.of(figure).seen(nothing)
    return replace(nothing, normals=sight.normals, weight=np.where(sight.cosine > 0.3, 1.0, 0.0))


def apart(figure: Figure, true: Figure) -> float:
    """Mean angle in degrees between the normals of both from behind."""
    one, other = (seen_of(each, 180, true) for each in (figure, true))
    both = (one.weight > 0) & (other.weight > 0)
    cosine = (one.normals * other.normals)[both].sum(1)
    return float(np.degrees(np.arccos(cosine.clip(-1, 1))).mean())


def depth_error(figure: Figure, true: Figure) -> float:
    """Mean difference in metres of how near both are from behind."""
    one, other = (seen_of(each, 180, true) for each in (figure, true))
    near = [Shell.of(each).seen(one).seen.near for each in (figure, true)]
    both = (one.weight > 0) & (other.weight > 0)
    return float(np.abs(near[0][both] - near[1][both]).mean())


@pytest.mark.parametrize("bump", [0.02, -0.015])
def test_a_bump_is_found_from_its_normals(bump):
    """Its slopes are; the ball as a whole moves against it, for what is broad stays."""
    flat, true = ball(), ball(bump=bump)
    fit = fit_normals(flat, [seen_of(true, azimuth, flat) for azimuth in BEHIND])
    assert fit.explained > 0.8 and 0.001 < fit.moved < LIMIT
    assert apart(fit.figure, true) < 0.5 * apart(flat, true)  # 2.3 degrees become .9
    assert depth_error(fit.figure, true) < 0.9 * depth_error(flat, true)


def test_nothing_is_left_of_a_bump_where_nothing_broad_stays():
    flat, true = ball(), ball(bump=0.02)
    fit = fit_normals(flat, [seen_of(true, azimuth, flat) for azimuth in BEHIND], broad=50.0)
    assert depth_error(flat, true) > 0.003 and depth_error(fit.figure, true) < 0.0002


def test_own_normals_move_nothing_and_noise_is_not_taken():
    flat, rng = ball(), np.random.default_rng(0)
    own = [seen_of(flat, azimuth, flat) for azimuth in BEHIND]
    assert fit_normals(flat, own).moved < 1e-9
    unit = lambda vectors: vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-9)
    noisy = [replace(one, normals=unit(one.normals + 0.5 * rng.standard_normal(one.normals.shape))) for one in own]
    fit = fit_normals(flat, noisy)
    assert fit.moved < 0.006 and fit.explained < EXPLAINED
    done, note = taken(flat, fit)
    assert note is not None and "no surface" in note and done.layers == flat.layers


def test_the_front_keeps_outline_and_pixels():
    flat, true = ball(), ball(bump=0.02)
    stripes = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    flat = replace(flat, texture=stripes, layers=(replace(flat.layers[0], uv=flat.layers[0].vertices[:, :2] % 1),))
    done = fit_normals(flat, [seen_of(true, azimuth, flat) for azimuth in BEHIND]).figure
    one, other = (look(figure, 0, SIZE).view for figure in (flat, done))
    assert np.abs(done.layers[0].vertices - flat.layers[0].vertices).max() > 0.005
    assert ((one.layer >= 0) != (other.layer >= 0)).mean() < 1e-4
    assert (np.abs(one.image - other.image).max(2) > 1 / 255).mean() < 1e-3
    assert open_edges(done.layers[0].faces) == 0


def test_conjugate_gradients_solve():
    rng = np.random.default_rng(0)
    root = torch.from_numpy(rng.standard_normal((30, 20)))
    matrix, right = root.T @ root + torch.eye(20), torch.from_numpy(rng.standard_normal(20))
    found = conjugate(lambda x: matrix @ x, right, torch.zeros(20).double(), 1 / matrix.diagonal(), least=1e-10)
    assert torch.allclose(found, torch.linalg.solve(matrix, right))


def test_a_prior_that_knows_the_truth_moves_the_surface_to_it(monkeypatch):
    """The whole way: what is shown to the painter, its colours, and which side is left."""
    flat, true = ball(), ball(bump=0.02)

    def knows(self, found, free, words, picture):
        sight = Shell.of(true).seen(Goal(found.camera, found.view.normals, free))
        wanted = np.asarray(normal_map(sight.normals[::2, ::2], found.camera), float)
        assert words in VIEWS.values() and self.asked.prompt == "normal map of a person"
        return (wanted - np.asarray(picture, float)) / 255 * (found.view.layer[::2, ::2] >= 0)[..., None]

    monkeypatch.setattr(Repainter, "__call__", knows)
    monkeypatch.setattr(refine, "native_size", lambda painter: SIZE)
    done, note = reshape(flat, pipelines()[1], WORDS)
    assert note is None and done.report["shape explained"] > 0.7
    assert apart(done, true) < 0.6 * apart(flat, true)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("control", [False, True])
def test_models_of_both_families_paint_normals(family, control, tmp_path):
    painter, shape, told = parts.pipeline(family), None, []
    painter.set_progress_bar_config(disable=True)
    if control:
        ControlNetModel.from_unet(painter.unet, conditioning_embedding_out_channels=(16, 32)).save_pretrained(tmp_path)
        shape = load_controlnet(tmp_path)
    seeded = lambda: torch.Generator().manual_seed(0)
    asked = replace(WORDS, control="normal")
    done, note = reshape(puppet(), painter, asked, controlnet=shape, generator=seeded(), tell=told.append)
    assert told == [f"shape {azimuth}" for azimuth in VIEWS]
    assert note is None and 0 < done.report["shape moved"] < LIMIT
    again, _ = reshape(puppet(), painter, asked, controlnet=shape, generator=seeded())
    for one, other, before in zip(done.layers, again.layers, puppet().layers, strict=True):
        assert np.array_equal(one.vertices, other.vertices) and not np.array_equal(one.vertices, before.vertices)
        assert np.abs(one.vertices - before.vertices).max() < LIMIT + 1e-6 and one.weights is not None


class Knowing:
    """A score whose optimum is known: latents are pictures, and each view is pulled to the one of the truth."""

    size = SIZE

    def __init__(self, flat: Figure, true: Figure) -> None:
        views = sides_unseen(flat, Shell.of(flat), self.size)
        self.pairs = [(self.shown(side.picture), self.shown(self.true(true, side))) for side in views]

    @staticmethod
    def true(true: Figure, side) -> Image.Image:
        sight = Shell.of(true).seen(Goal(side.found.camera, side.sight.normals, side.free))
        return normal_map(sight.normals[::2, ::2], side.found.camera)

    @staticmethod
    def shown(picture: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(picture, np.float32) / 255).permute(2, 0, 1)[None]

    def encode(self, x):
        return x[None]

    def __call__(self, z, start, generator):
        other = min(self.pairs, key=lambda pair: float((pair[0] - start).abs().sum()))[1]
        return 0.5 * (z - other).square().sum()


def test_distilling_a_shape_ends_where_the_score_is_best(monkeypatch):
    flat, true = ball(), ball(bump=0.02)
    monkeypatch.setattr(Score, "of", lambda painter, asked: Knowing(flat, true))
    asked = Distilling("a person", steps=60, rate=0.03, stay=0.0)
    done, note = distil_shape(flat, None, asked, generator=torch.Generator().manual_seed(0))
    assert note is None and done.report["shape explained"] > 0.6


def test_a_shape_is_distilled_by_a_model_with_random_weights(monkeypatch):
    _, painter = pipelines()
    asked, told = Distilling("a coat", steps=3, rate=0.1), []
    monkeypatch.setattr(room, "EXPLAINED", 0.0)
    done, _ = distil_shape(puppet(), painter, asked, generator=torch.Generator().manual_seed(0), tell=told.append)
    assert len(told) == 3 and 0 < done.report["shape moved"] < LIMIT
    with pytest.raises(ConfigError, match="1.x or 2.x"):
        distil_shape(puppet(), parts.pipeline("sdxl"), asked)
