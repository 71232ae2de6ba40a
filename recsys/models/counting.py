"""What the models that count share: flat training items, and the checks on what was fitted or loaded."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, ModelError


def flatten(sequences: list[np.ndarray], n_items: int) -> tuple[Tensor, Tensor]:
    """Join sequences to items (N,) and the sequence each belongs to (N,), both int64.

    Raises:
        DataError: no items at all, or ids outside 1..n_items.
    """
    lengths = [len(sequence) for sequence in sequences]
    if sum(lengths) == 0:
        raise DataError("there are no training sequences to fit; this data set may hold evaluation cases only")
    items = torch.from_numpy(np.concatenate(sequences).astype(np.int64))
    if int(items.min()) < 1 or int(items.max()) > n_items:
        raise DataError(
            f"training items are {int(items.min())}..{int(items.max())}; allowed are 1 to n_items = {n_items}"
        )
    return items, torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))


def check_fitted(tensor: Tensor | None, name: str) -> Tensor:
    """Return the fitted tensor as it is, of any shape; `name` is the model's.

    Raises:
        ModelError: neither `fit` nor `load_state_dict` was called.
    """
    if tensor is None:
        raise ModelError(f"{name} has not been fitted; call fit(sequences) or load saved tensors first")
    return tensor


def check_tally(tally: dict[str, Tensor], names: tuple[str, ...], model: str) -> dict[str, Tensor]:
    """Return the tally of a model named `model` as it is, its tensors of any shape.

    Raises:
        ModelError: it lacks one of `names`.
    """
    if not set(names) <= set(tally):
        raise ModelError(
            f"this {model} came without the tally that new counts are added to (tally.safetensors); train it anew"
        )
    return tally


def read_state(state: dict[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Check names and shapes of saved tensors strictly; -1 allows any length.

    Raises:
        ModelError: names or shapes are others.
    """
    if set(state) != set(shapes):
        raise ModelError(f"saved tensors are {sorted(state)}; this model needs exactly {sorted(shapes)}")
    for name, shape in shapes.items():
        found = tuple(state[name].shape)
        if len(found) != len(shape) or any(want not in (-1, size) for want, size in zip(shape, found, strict=True)):
            raise ModelError(f"saved tensor {name!r} has shape {found}; this model's configuration needs {shape}")
    return dict(state)
