"""What the photo does not show is painted, nothing else; by models of both families with random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel

from personagen.figure import refine as room
from personagen.figure.distil import Distilling, Score, distil
from personagen.figure.refine import Refining, Repainter, colour_moved, refine
from personagen.figure.texels import FRONT, STRAIGHT, look, seen_straight, spread
from personagen.models import load_controlnet
from recsys.errors import ConfigError, ModelError
from tests.apps.tiny import pipelines
from tests.personagen.subject import parts

from .puppet import sided_puppet

WORDS = Refining("a person in a red shirt", strength=0.6, steps=4, guidance=1.5)


@pytest.fixture
def sided():
    return sided_puppet()


def test_spread_averages_samples_over_the_texels_near_them():
    uv = np.array([[(3 + 0.5) / 16, (5 + 0.5) / 16]] * 2)
    found = spread(uv, np.array([1.0, 3.0]), np.array([[0.0], [1.0]]), (16, 16))
    assert found.shape == (16, 16, 2) and np.isclose(found[5, 3, 0], 0.75)
    assert np.isclose(found[..., 1].sum(), 4) and found[12, 12, 1] == 0


def test_only_what_the_front_does_not_show_is_painted(sided):
    _, painter = pipelines()
    kept = seen_straight(sided, look(sided, 0, FRONT))
    assert 0.2 < (kept > STRAIGHT).mean() < 0.7
    done, note = refine(sided, painter, WORDS, generator=torch.Generator().manual_seed(0))
    assert note is None or "left out" in note
    assert done.report["refined"] > 0.02
    before, after = (np.asarray(one.texture, int) for one in (sided, done))
    assert (before[kept > STRAIGHT] == after[kept > STRAIGHT]).all()
    if note is None:
        assert (before != after).any()
    again, _ = refine(sided, painter, WORDS, generator=torch.Generator().manual_seed(0))
    assert again.texture.tobytes() == done.texture.tobytes()


def test_a_change_that_spoils_a_garments_colour_is_left_out(sided, monkeypatch):
    _, painter = pipelines()
    white = lambda self, found, free, words: np.ones((*self.size, 3))
    monkeypatch.setattr(Repainter, "__call__", white)
    done, note = refine(sided, painter, WORDS)
    assert note is not None and "left out" in note and done.texture.tobytes() == sided.texture.tobytes()
    monkeypatch.setattr(room, "MOVED", 1e9)
    done, note = refine(sided, painter, WORDS)
    assert note is None and colour_moved(sided, done, [180], (64, 48)) > 6


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("control", ["", "depth", "normal"])
def test_models_of_both_families_paint_with_a_controlnet_and_without(sided, family, control, tmp_path):
    painter, shape = parts.pipeline(family), None
    painter.set_progress_bar_config(disable=True)
    if control:
        ControlNetModel.from_unet(painter.unet, conditioning_embedding_out_channels=(16, 32)).save_pretrained(tmp_path)
        shape = load_controlnet(tmp_path)
    asked = replace(WORDS, negative_prompt="blurred", control=control or "depth")
    done, _ = refine(sided, painter, asked, controlnet=shape, generator=torch.Generator().manual_seed(0))
    assert done.report["refined"] > 0


def test_what_a_controlnet_is_shown(sided):
    found = look(sided, 0, (128, 96))
    depth, normal = np.asarray(found.depth()), np.asarray(found.normal())
    there = found.view.layer[::2, ::2] >= 0
    assert (depth[~there] == 0).all() and depth[there].min() > 40 and depth.max() == 255
    left, right = normal[there & (np.arange(96) < 44)], normal[there & (np.arange(96) > 52)]
    assert left[:, 0].mean() > 140 > 115 > right[:, 0].mean() and normal[there][:, 2].mean() > 180


def test_a_controlnet_that_is_missing_is_named(tmp_path):
    with pytest.raises(ModelError, match="no ControlNet"):
        load_controlnet(tmp_path)


def test_distilling_goes_downhill_where_the_answer_is_known(sided):
    """A network that always sees the same latents pulls towards them."""
    _, painter = pipelines()
    score = Score(painter, Distilling("red", guidance=1.0, reduced=False))
    goal = torch.randn(1, 4, 8, 6, generator=torch.Generator().manual_seed(1))
    score._guess = lambda z, *inputs: goal  # pyrefly: ignore
    z = torch.zeros_like(goal, requires_grad=True)
    score(z, torch.zeros_like(goal), torch.Generator().manual_seed(0)).backward()
    assert z.grad is not None and torch.cosine_similarity(-z.grad.flatten(), goal.flatten(), 0) > 0.999


def test_distilling_changes_unseen_texels_alone_and_nothing_under_the_same_words(sided):
    _, painter = pipelines()
    same = distil(sided, painter, Distilling("a person", "a person", steps=3), generator=torch.Generator())
    assert same.texture.tobytes() == sided.texture.tobytes()
    done = distil(sided, painter, Distilling("a blue coat", steps=4, rate=0.2), generator=torch.Generator())
    kept = seen_straight(sided, look(sided, 0, FRONT)) > STRAIGHT
    before, after = (np.asarray(one.texture, int) for one in (sided, done))
    assert (before != after).any() and (before[kept] == after[kept]).all()
    with pytest.raises(ConfigError, match="1.x or 2.x"):
        distil(sided, parts.pipeline("sdxl"), Distilling("a coat"))


@pytest.mark.parametrize("wrong", [{"strength": 0.0}, {"steps": 0}, {"guidance": 0.5}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Refining("a", **wrong)
