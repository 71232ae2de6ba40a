"""What is shown while a picture is painted: the picture that the steps are heading for, not the noise on it."""

import pytest
import torch

from apps.page.live import heading_for
from personagen.schedulers import build_scheduler
from tests.apps.tiny import pipelines


@pytest.mark.parametrize("name", ["ddim", "euler", "dpmpp_2m", "unipc"])
def test_the_clean_picture_follows_from_two_noisy_ones(name):
    scheduler = build_scheduler(name, pipelines()[1].scheduler.config)
    scheduler.set_timesteps(8)
    clean, noise = torch.randn(1, 4, 6, 6), torch.randn(1, 4, 6, 6)
    before, after = (
        scheduler.add_noise(clean, noise, scheduler.timesteps[at : at + 1]) for at in (3, 4)
    )  # fmt: skip
    assert torch.allclose(heading_for(scheduler, before, after, 3), clean, atol=1e-3)


def test_where_it_cannot_be_told_the_noisy_one_is_shown():
    scheduler = build_scheduler("euler_a", pipelines()[1].scheduler.config)
    scheduler.set_timesteps(8)
    before, after = torch.randn(1, 4, 6, 6), torch.randn(1, 4, 6, 6)
    assert heading_for(scheduler, before, after, 3) is after
    assert heading_for(scheduler, None, after, 0) is after
    plain = build_scheduler("ddim", pipelines()[1].scheduler.config)
    plain.set_timesteps(8)
    assert heading_for(plain, before, after, 7) is after
