"""From each user's own noise to the last step of a reverse process: what every ranking by diffusion shares."""

from collections.abc import Callable
from itertools import islice

import torch
from torch import Tensor

from ..types import Denoise
from .gaussian import sample
from .noise import user_normal
from .schedule import Schedule


def last_answer(
    ask: Denoise,
    seeds: Tensor,
    *,
    clean: Callable[[Tensor], Tensor],
    d: int,
    draws: int,
    schedule: Schedule,
    steps: int,
    eta: float,
) -> Tensor:
    """Walk `draws` trajectories for each user of seeds (B,) and return what `ask` says at the last step (B·draws, d).

    `ask` answers for (x_t (B·draws, d), t (B·draws,)), the draws of a user side by side; `clean` turns an answer into
    x0_hat. A user's noise depends on the seed alone, and the first draws are the same however many follow.
    """
    shape = (draws, d)
    x, t = user_normal(seeds, shape).flatten(0, 1), schedule.T
    walk = sample(
        lambda x, t: clean(ask(x, t)), x, schedule=schedule, steps=steps, eta=eta,
        noise=lambda _, i: user_normal(seeds, shape, draw=i + 1).flatten(0, 1),
    )  # fmt: skip
    for step in islice(walk, steps - 1):
        x, t = step.x, step.t
    return ask(x, torch.full((len(x),), t, device=x.device))
