"""Samplers by name: every one walks every model, with the noise schedule that its weights were trained with."""

from typing import Any, get_args

import numpy as np
import pytest
import torch

from personagen.models import load_text2image
from personagen.models.config import OwnWeights
from personagen.schedulers import Sampler, build_scheduler, check_sampler, sampler_of, use_sampler
from recsys.errors import ConfigError
from tests.apps.tiny import pipelines
from tests.cases import cases
from tests.personagen.subject.parts import paint, pipeline
from tests.personagen.test_devices import wear

NAMES = get_args(Sampler)


@pytest.fixture(scope="module")
def both():
    return pipelines()


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_walks_scenes_and_try_on(both, name):
    tryon, text2image = both
    for pipe in both:
        before = pipe.scheduler
        use_sampler(pipe, name)
        config = pipe.scheduler.config
        assert config["prediction_type"] == "v_prediction" and config["rescale_betas_zero_snr"]
        assert config["timestep_spacing"] == before.config["timestep_spacing"]
    for steps in (1, 3):
        noise = torch.Generator().manual_seed(0)
        image = text2image("a person", num_inference_steps=steps, generator=noise, output_type="np").images[0]
        assert np.isfinite(image).all() and image.std() > 0.01
    assert wear(tryon).std() > 0


@pytest.mark.parametrize("family", cases(["sd1"], slow=["sd2-v", "sdxl"]))
def test_samplers_agree_where_there_is_one_step(family):
    """One step of every sampler goes from noise straight to what the model says."""
    pictures = []
    for name in NAMES[:5]:
        pipe = pipeline(family)
        use_sampler(pipe, name)
        image: Any = pipe("a red dog", num_inference_steps=1, generator=torch.Generator().manual_seed(0),
                          height=16, width=16, output_type="np").images[0]  # fmt: skip
        pictures.append(image)
    assert all(np.abs(picture - pictures[0]).max() < 0.05 for picture in pictures)


def test_no_name_changes_nothing_and_the_name_is_told():
    pipe, plain = pipeline("sd1"), pipeline("sd1")
    use_sampler(pipe, None)
    assert pipe.scheduler.config == plain.scheduler.config and sampler_of(pipe) == "DDPM"
    np.testing.assert_array_equal(paint(pipe), paint(plain))
    use_sampler(pipe, "euler_a")
    assert sampler_of(pipe) == "EulerAncestralDiscrete"


def test_the_embedded_model_keeps_its_schedule():
    config = load_text2image("embedded", own=OwnWeights(scheduler="dpmpp_2m")).scheduler.config
    own = load_text2image("embedded").scheduler.config
    kept = ("prediction_type", "rescale_betas_zero_snr", "beta_start", "beta_end", "beta_schedule", "timestep_spacing")
    assert [config[key] for key in kept] == [own[key] for key in kept]


def test_what_cannot_be_is_named():
    with pytest.raises(ConfigError, match="scheduler is 'heun'; allowed are ddim"):
        check_sampler("heun")
    with pytest.raises(ConfigError, match="allowed are 1 to 50"):
        check_sampler("lcm", 4, 51)
    check_sampler("lcm", 50)
    check_sampler(None, 1000)
    with pytest.raises(ConfigError, match="'heun' is unknown"):
        build_scheduler("heun", {})
