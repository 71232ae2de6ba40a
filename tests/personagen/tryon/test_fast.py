"""The fast mode: exact where nothing changed, planned as documented, refused where it cannot work."""

from typing import Any

import numpy as np
import pytest
import torch

from personagen.models.base import load_tryon_base
from personagen.tryon.attention import set_cross_attention
from personagen.tryon.config import BaseConfig
from personagen.tryon.fast import FastMode, GarmentMemory, extrapolate, plan_steps
from recsys.errors import ConfigError
from tests.personagen.sd15 import tiny_unet, write_base
from tests.personagen.tryon.test_base import mask, picture, seeded


def test_from_a_fresh_memory_the_person_half_is_exact():
    unet: Any = tiny_unet()
    set_cross_attention(unet, "zero")
    x = torch.randn(2, 9, 32, 12)
    with torch.no_grad():
        whole = unet(x, 300, encoder_hidden_states=None).sample
        processors = unet.attn_processors
        with GarmentMemory(unet) as memory:
            torch.testing.assert_close(unet(x, 300, encoder_hidden_states=None).sample, whole)
            memory.mode = "reuse"
            alone = unet(x[:, :, :16], 300, encoder_hidden_states=None).sample
            last = unet(x[1:, :, :16], 300, encoder_hidden_states=None).sample
        torch.testing.assert_close(alone, whole[:, :, :16], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(last, whole[1:, :, :16], atol=1e-5, rtol=1e-5)
        assert unet.attn_processors == processors
        torch.testing.assert_close(unet(x, 300, encoder_hidden_states=None).sample, whole)


def test_steps_are_planned_as_told():
    show = lambda plan: "".join(("G" if s.guided else "u") if not s.reuse else ("g" if s.guided else ".") for s in plan)
    assert show(plan_steps(4, None, guided=True)) == "GGGG" and show(plan_steps(3, None, guided=False)) == "uuu"
    assert show(plan_steps(8, FastMode(0, 0.5, 1, 2), guided=True)) == "GgGgu.u."
    assert show(plan_steps(6, FastMode(0, 1, 1, 3), guided=True)) == "GggGgg"
    assert show(plan_steps(6, FastMode(0.5, 1, 1, 4), guided=True)) == "u..Ggg"  # guidance needs its own rows
    assert show(plan_steps(4, FastMode(0, 0.5, 1, 2), guided=False)) == "u.u."
    plan = plan_steps(7, FastMode(0, 0.8, 3, 3), guided=True)
    assert show(plan) == "G..G..u" and [step.led for step in plan] == [False, True, True, False, True, True, False]


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    base = str(write_base(tmp_path_factory.mktemp("base")))
    return load_tryon_base(BaseConfig(base, variant="corrected", cross_attention="zero", eta=0.0, height=64, width=64))


def test_leaving_nothing_out_changes_nothing_and_the_rest_stays_near(pipe):
    def run(fast):
        out = pipe(picture(), [picture(1), picture(2)], mask(), num_inference_steps=4, generator=seeded(), fast=fast,
                   output_type="latent")  # fmt: skip
        return torch.as_tensor(out.images)

    plain = run(None)
    assert torch.equal(run(FastMode(0, 1, 1, 1)), plain)
    assert 0 < (run(FastMode(0, 1, 2, 1)) - plain).abs().mean() < 0.2 * plain.std()
    near = run(FastMode(0, 1, 1, 2))
    assert not torch.equal(near, plain) and (near - plain).abs().mean() < 0.2 * plain.std()
    assert torch.equal(run(None), plain)


def test_what_cannot_work_is_refused(pipe):
    for start, end, every, refresh in ((0.5, 0.2, 1, 1), (0, 1.5, 1, 1), (0, 1, 0, 1), (0, 1, 1, 101)):
        with pytest.raises(ConfigError, match="must"):
            FastMode(start, end, every, refresh)
    with pytest.raises(ConfigError, match="corrected"):
        pipe(picture(), picture(1), mask(), variant="plain", fast=FastMode(0, 1, 1, 2))
    with pytest.raises(ConfigError, match="multiple of 64"):
        pipe(picture(), picture(1), mask(), height=72, fast=FastMode(0, 1, 1, 2))
    plain = pipe(picture(), picture(1), mask(), variant="plain", fast=FastMode(0, 0.5, 1, 1), num_inference_steps=2)
    assert np.asarray(plain.images[0]).shape == (64, 64, 3)


def test_guidance_in_between_is_extrapolated_half_way():
    one, two = torch.full((1, 2), 4.0), torch.full((1, 2), 2.0)
    assert torch.equal(extrapolate([(0, one)], 3), one)
    assert torch.equal(extrapolate([(0, one), (4, two)], 4), two)
    assert torch.equal(extrapolate([(0, one), (4, two)], 6), torch.full((1, 2), 1.5))
    with pytest.raises(ConfigError, match="guided step first"):
        extrapolate([], 2)
