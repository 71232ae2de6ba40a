import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from recsys.errors import ConfigError
from recsys.models.preferdiff import PreferDiff, PreferDiffConfig, cosine_error, other_centroids, preference_loss


def test_the_cosine_error_sees_directions_only():
    x = torch.tensor([[1.0, 0], [1, 0], [1, 0]])
    y = torch.tensor([[5.0, 0], [0, 2], [-3, 0]])
    torch.testing.assert_close(cosine_error(x, y), torch.tensor([0.0, 1, 4]))


def test_the_negative_is_the_centroid_of_the_rows_with_other_targets():
    x0 = torch.tensor([[1.0, 0], [1, 0], [0, 4], [6, 0]])
    target = torch.tensor([3, 3, 1, 2])
    expected = torch.tensor([[3.0, 2], [3, 2], [8 / 3, 0], [2 / 3, 4 / 3]])
    torch.testing.assert_close(other_centroids(x0, target), expected)
    assert (other_centroids(x0[:2], target[:2]) == 0).all()


def test_the_preference_is_taken_of_every_sample():
    x0, other = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    guess, guess_other = x0 + 0.5 * other, other - x0
    losses = preference_loss(guess, x0, guess_other, other, share=0.3, gamma=5.0)
    rows = [
        -F.logsigmoid(-5 * ((F.cosine_similarity(a, b, 0) - 1) ** 2 - (F.cosine_similarity(c, d, 0) - 1) ** 2))
        for a, b, c, d in zip(guess, x0, guess_other, other, strict=True)
    ]
    torch.testing.assert_close(losses["preference"], torch.stack(rows).mean())
    torch.testing.assert_close(losses["loss"], 0.3 * losses["simple"] + 0.7 * losses["preference"])
    of_means = F.softplus(5 * (cosine_error(guess, x0).mean() - cosine_error(guess_other, other).mean()))
    assert not torch.isclose(losses["preference"], of_means)


def test_the_configuration_underneath_is_dreamrecs_with_ddim():
    config = PreferDiffConfig(100)
    dreamrec = config.dreamrec()
    assert (dreamrec.objective, dreamrec.T, dreamrec.schedule, dreamrec.eta) == ("mse", 2000, "linear", 0.0)
    assert (dreamrec.steps, dreamrec.weight, config.gamma) == (20, 2.0, 5.0)
    assert PreferDiff(dataclasses.replace(config, encoder="bidirectional", d=8)).net.config.positions == "one"
    wrong: tuple[dict[str, Any], ...] = ({"share": 1.5}, {"gamma": -1.0}, {"sample_steps": 2001})
    for changes in wrong:
        with pytest.raises(ConfigError):
            dataclasses.replace(config, **changes)
