"""Training in a plain loop, for tests of what a model can learn."""

import numpy as np
import torch

from recsys.types import Batch, Cases, Preparable, Tunable


def batch_of(sequences) -> Batch:
    """Make every position of sequences of one length a target."""
    rows = torch.from_numpy(np.stack(sequences))
    return Batch(rows[:, :-1], rows[:, 1:])


def fit(model, sequences, *, epochs, lr=5e-3, seed=0):
    """Train with Adam in batches of 64; return the model. One with `tune` is tuned on a sixth that is held out."""
    held_out = sequences[: len(sequences) // 6] if issubclass(type(model), Tunable) else []
    sequences = sequences[len(held_out) :]
    if issubclass(type(model), Preparable):
        model.prepare(sequences)
    batch, generator = batch_of(sequences), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for _ in range(epochs):
        for rows in torch.randperm(len(batch.history), generator=generator).split(64):
            optimizer.zero_grad()
            model.loss(Batch(batch.history[rows], batch.target[rows]), generator=generator)["loss"].backward()
            optimizer.step()
    if held_out:
        model.tune(Cases([row[:-1] for row in held_out], [row[-1:] for row in held_out]))
    return model
