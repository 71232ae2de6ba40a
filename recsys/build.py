"""Build a recommender by name for the items of a data set, and train a small one where none was given.

training = train_on_the_spot(sequences, features)
for step in training.steps:
    print(step.step, "of", training.total)
training.model.recommend(history, 10)
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .counts.texts import text_features, text_neighbours
from .counts.transitions import Transitions, nearest
from .data.splits import Split, leave_one_out
from .errors import ConfigError
from .index import LARGE, installed, nearly_nearest
from .models import MODELS
from .train import TrainConfig, planned_steps, train
from .types import NeighbourAware, Recommender, Step, Trainable

ON_THE_SPOT = 200_000
"""Interactions; more are worth a training of their own."""
TEXT_DIMENSIONS = 256
NEIGHBOURS = 50
"""Items that are alike, for each item."""


@dataclass(frozen=True)
class Training:
    """A recommender that is trained while somebody iterates over `steps`; with each step the model is further on."""

    model: Recommender
    steps: Generator[Step, None, None]
    """Closed early, the model holds the weights that were best on validation so far."""
    total: int
    """Steps at most; training stops before when validation no longer improves."""
    interactions: int

    def finish(self) -> Recommender:
        """Take all steps that are left and return the trained model."""
        for _ in self.steps:
            pass
        return self.model


def build(
    name: str, split: Split, settings: Mapping[str, Any] | None = None, *, features: Tensor | None = None, seed: int = 0
) -> Any:
    """Build the model `name` of recsys.models for the items of `split`, untrained.

    features (n+1, f), row 0 padding, describe the items; a model that knows no features ignores them. Where there are
    none but settings["items"] asks for some, the words of the items' names serve. settings are fields of the model's
    configuration; `seed` decides its first weights.

    Raises:
        ConfigError: an unknown model or setting, a setting out of range or of the wrong type.
        DataError: the items' names have no word in common, where words are asked for.
    """
    _, config_class = model_named(name)
    settings = dict(settings or {})
    if "n_items" in settings:
        raise ConfigError("settings.n_items is counted from the data; leave it out")
    known = [field.name for field in fields(config_class)]
    described = _features(split, features, settings.get("items")) if "n_features" in known else None
    derived: dict[str, Any] = {"n_items": split.n_items}
    if described is not None:
        derived |= {"n_features": described.shape[1], "items": "both"}
        if "words" in known:
            derived["words"] = bool((described >= 0).all())
    model = _made(name, derived | settings, described, seed)
    if described is not None and isinstance(model, NeighbourAware):
        model.set_neighbours(neighbours(split, features))
    return model


def model_named(name: str) -> tuple[Callable[..., Any], type]:
    """Return the class and the configuration's class of a model of recsys.models.

    Raises:
        ConfigError: there is no model of that name; the message lists those there are.
    """
    if name not in MODELS:
        raise ConfigError(f"model is {name!r}; allowed are {', '.join(MODELS)}")
    return MODELS[name]


def trainable(name: str) -> bool:
    """Tell whether the model `name` is trained step by step; the others count, in one call of `fit`."""
    return issubclass(MODELS[name][0], Trainable)


def neighbours(split: Split, features: Tensor | None = None) -> Transitions:
    """Find up to 50 items like each, by features (n+1, f) or else by the words of the items' names: (n+1, n+1).

    In large catalogues, features are compared through an approximate index, where one is installed.

    Raises:
        ConfigError: there is one item only.
        DataError: no features are given and no word is common.
    """
    count = min(NEIGHBOURS, split.n_items - 1)
    if features is None:
        return text_neighbours(split.item_names or (), count=count)
    features = torch.nn.functional.normalize(features, dim=1)
    many = split.n_items >= LARGE and installed()
    return nearly_nearest(features, count=count) if many else nearest(features, count=count)


def train_on_the_spot(sequences: Sequence[np.ndarray], features: Tensor, *, seed: int = 0) -> Training:
    """Prepare the training of a small CountDiff, for up to 200,000 interactions; nothing is trained before the steps.

    sequences hold the ids of one user each, in time order; features (n+1, f) describe the items, row 0 padding.

    Raises:
        ConfigError: there are more interactions.
        DataError: no user has two items (when the first step is taken).
    """
    count = sum(len(sequence) for sequence in sequences)
    if count > ON_THE_SPOT:
        raise ConfigError(
            f"{count} interactions are too many to train on the spot (at most {ON_THE_SPOT}); "
            "run personagen recommend train first, and give its folder with --recommender"
        )
    split = leave_one_out(list(sequences), len(features) - 1)
    settings = {"d": 32, "layers": 1, "likeness_decay": 1.0, "window": 20}
    model = build("countdiff", split, settings, features=features, seed=seed)
    config = TrainConfig(epochs=30, batch_size=128, patience=3, validate_cases=500, seed=seed, learning_rate=3e-3)
    return Training(model, train(model, split, config), planned_steps(split, config), count)


def _features(split: Split, features: Tensor | None, wanted: str | None) -> Tensor | None:
    """The items' features (n+1, f); where they have none but `items` asks for some, their names as texts."""
    if wanted == "id":
        return None
    if features is None and wanted is not None and split.item_names is not None:
        return text_features(split.item_names, dimensions=TEXT_DIMENSIONS)
    return features


def _made(name: str, settings: dict[str, Any], features: Tensor | None, seed: int) -> Any:
    """Make the model from its settings, refusing those that it does not know."""
    cls, config_class = model_named(name)
    known = [field.name for field in fields(config_class)]
    for key in settings:
        if key not in known:
            raise ConfigError(f"settings.{key} is unknown; allowed are {', '.join(known)}")
    try:
        config = config_class(**settings)
    except TypeError as error:  # a comparison of a text with a number
        raise ConfigError(f"a setting of {name} is of the wrong type: {error}; see {config_class.__name__}") from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(config) if features is None else cls(config, features=features)
