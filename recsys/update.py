"""Let a recommender take in what happened since it was trained: counts are added to, networks go on from their weights.

    continued = Continued.of(interactions, fresh, known)
    model = taken_in(model, continued)                    # counts, and room for new items
    for step in train(model, going_on(continued), config, parent=fingerprint): ...      # networks alone

What is held out to validate (`leave_one_out`) moves on with the histories: items that were held out before train now.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .build import neighbours
from .data.changes import Change, Continued, common
from .data.splits import Split, leave_one_out, training_part
from .errors import ConfigError
from .models import MODELS
from .models.countdiff import CountDiff
from .models.robust import neighbours as mean_of_neighbours
from .types import Cases, Countable, Preparable

NETWORKS = ("sasrec", "gru4rec", "dreamrec", "preferdiff", "countdiff")
"""Networks whose only parts that depend on the number of items are tables of items and counts."""
NEAR = 2  # a new item starts as the mean of those that many places from it
NONE = Cases([], [])
RARE = 0.25  # and with a bias that this share of the items is below


def name_of(model: Any) -> str:
    """Return the name of a recommender that can be updated.

    Raises:
        ConfigError: it cannot.
    """
    name = next((name for name, (cls, _) in MODELS.items() if type(model) is cls), type(model).__name__)
    if not isinstance(model, Countable) and name not in NETWORKS:
        able = [n for n, (cls, _) in MODELS.items() if n in NETWORKS or hasattr(cls, "updated")]
        raise ConfigError(f"a {name} cannot be updated, only {', '.join(able)}; train it anew on all interactions")
    return name


def taken_in(model: Any, continued: Continued, *, features: Tensor | None = None) -> Any:
    """Return a copy of a recommender that knows all items of the continued histories and has counted what is new.

    A network is still to go on training. features (m, f) describe the m new items, where the model reads features.

    Raises:
        ConfigError: the model cannot be updated, or not with these features.
        ModelError: it was saved without what new counts are added to.
    """
    name_of(model)
    n_items = len(continued.items)
    if isinstance(model, Countable):
        change = Change(*([training_part(one) for one in lists] for lists in (continued.before, continued.after)))
        return model.updated(change, n_items)
    model = grown(model, continued.after, n_items, features=features)
    if isinstance(model, Preparable):
        model.prepare([part for one in continued.after if len(part := training_part(one))])
    if isinstance(model, CountDiff) and model.neighbours.filled and continued.new_items:
        split = Split([], NONE, NONE, n_items, continued.items.names)
        model.set_neighbours(neighbours(split, model.net.table.features if model.config.words else None))
    return model


def grown(model: Any, sequences: list[np.ndarray], n_items: int, *, features: Tensor | None = None) -> Any:
    """Return a copy of a network with room for n_items items, the last of which are new.

    A new item starts as the mean of what is next to it in the sequences, or of all items; or as its features have it.

    Raises:
        ConfigError: it cannot be updated, or knows items by features alone and has none of the new ones.
    """
    cls, _ = MODELS[name_of(model)]
    c = model.config
    if getattr(c, "new_items", 0):
        raise ConfigError(f"{c.new_items} of its items came by with_items, after training; train it anew with them")
    if getattr(c, "items", "id") == "features" and features is None and n_items > model.n_items:
        raise ConfigError("it knows items by their features alone; describe the new ones with --catalog (features=)")
    copy = cls(replace(model.config, n_items=n_items))
    state, m = copy.state_dict(), n_items - model.n_items
    for name, value in model.state_dict().items():
        state[name] = _longer(name.split(".")[-1], value, m, sequences, features) if m else value  # m: new items
    copy.load_state_dict(state)
    return copy


def _longer(kind: str, value: Tensor, m: int, sequences: list[np.ndarray], features: Tensor | None) -> Tensor:
    """Append m items to a tensor of a network, by the last word of its name."""
    if kind == "starts":  # of counts, where nothing follows new items yet
        return torch.cat([value, value[-1:].expand(m)])
    if kind == "features":
        return torch.cat([value, value.new_zeros(m, value.shape[1]) if features is None else features.to(value)])
    if kind not in ("id_embedding", "id_bias"):
        return value
    value = value.float()  # what is copied from it takes the table's own type again
    if features is not None:  # they speak alone at first
        return torch.cat([value, value.new_zeros(m, *value.shape[1:])])
    if kind == "id_bias":
        return torch.cat([value, value[1:].quantile(RARE).expand(m)])
    table = torch.cat([value, value[1:].mean(0).expand(m, -1)])
    near = mean_of_neighbours(sequences, table, window=NEAR)[-m:]
    alone = (near == 0).all(1, keepdim=True)
    return torch.cat([value, torch.where(alone, table[-m:], near)])


def going_on(continued: Continued, *, max_length: int) -> Split:
    """Return what a network goes on to train with, and the validation cases as they are now.

    It trains on what is new, after up to `max_length` items of the past, which thereby are trained on again.
    """
    split = leave_one_out(continued.after, len(continued.items), item_names=continued.items.names)
    train = []
    for before, after in zip(continued.before, continued.after, strict=True):
        now = training_part(after)
        same = common(training_part(before), now)
        if same < len(now):
            train.append(now[max(0, same - max_length) :])
    return replace(split, train=train)
