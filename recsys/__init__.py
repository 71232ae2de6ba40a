"""Rank the items that come next: recommenders, and how they are trained, measured, saved and loaded.

import recsys

model = recsys.load("runs/shop")
model.recommend(history, 10)

What is listed in `__all__` is imported when it is first asked for; importing the package costs nothing.
"""

from typing import TYPE_CHECKING

from .lazy import lazily

if TYPE_CHECKING:
    from . import build, evaluate, train
    from .build import Training, train_on_the_spot
    from .data.datasets import read_interactions
    from .data.splits import Interactions, Split, leave_one_out, pad
    from .data.vocabulary import Vocabulary
    from .errors import ConfigError, DataError, ModelError, ResourceError
    from .evaluate import Report
    from .models import (
        DDSR,
        CountDiff,
        DiffRec,
        DiffuRec,
        DiQDiff,
        DreamRec,
        Ease,
        GRU4Rec,
        LDiffRec,
        Markov,
        MaskedIds,
        Popularity,
        PreferDiff,
        SASRec,
    )
    from .pretrained import fingerprint, load, load_vocabulary, save
    from .train import TrainConfig
    from .types import Batch, Cases, Ranking, Recommender, Step

__version__ = "0.1.0"
"""Of the whole distribution; pyproject.toml reads it."""

__all__ = [
    "Batch",
    "Cases",
    "ConfigError",
    "CountDiff",
    "DDSR",
    "DataError",
    "DiQDiff",
    "DiffRec",
    "DiffuRec",
    "DreamRec",
    "Ease",
    "GRU4Rec",
    "Interactions",
    "LDiffRec",
    "Markov",
    "MaskedIds",
    "ModelError",
    "Popularity",
    "PreferDiff",
    "Ranking",
    "Recommender",
    "Report",
    "ResourceError",
    "SASRec",
    "Split",
    "Step",
    "TrainConfig",
    "Training",
    "Vocabulary",
    "__version__",
    "build",
    "evaluate",
    "fingerprint",
    "leave_one_out",
    "load",
    "load_vocabulary",
    "pad",
    "read_interactions",
    "save",
    "train",
    "train_on_the_spot",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "": ("build", "evaluate", "train"),
        "build": ("Training", "train_on_the_spot"),
        "data.datasets": ("read_interactions",),
        "data.splits": ("Interactions", "Split", "leave_one_out", "pad"),
        "data.vocabulary": ("Vocabulary",),
        "errors": ("ConfigError", "DataError", "ModelError", "ResourceError"),
        "evaluate": ("Report",),
        "models": (
            "CountDiff", "DDSR", "DiQDiff", "DiffRec", "DiffuRec", "DreamRec", "Ease", "GRU4Rec", "LDiffRec", "Markov",
            "MaskedIds", "Popularity", "PreferDiff", "SASRec",
        ),
        "pretrained": ("fingerprint", "load", "load_vocabulary", "save"),
        "train": ("TrainConfig",),
        "types": ("Batch", "Cases", "Ranking", "Recommender", "Step"),
    },
)  # fmt: skip
