"""How to train on data of a given size, where the user does not say: one rule for batch, rate, epochs and patience.

A small set has few batches an epoch. Patience that counts epochs then ends a run after a few dozen updates, when a
network has only learnt which items are popular: SASRec on 1,090 users and 50,000 interactions, with a batch of 256, a
rate of .001 and a patience of 5 epochs, stops after 112 updates at a validation NDCG@10 of .018; with a batch of 64 and
a rate of .003 it reaches .055 after 840. So the rule counts updates and predictions, and turns them into epochs:

    batch_size     the power of 2 that holds about NEXT_ITEMS next items, between 16 and 256, and that leaves STEPS
                   updates an epoch
    learning_rate  RATE, whatever the size
    epochs         UPDATES updates, between 20 and 200 epochs; validation mostly ends a run long before
    patience       WAIT updates without gain, between 3 and 10 epochs
    validate_cases at most CASES, drawn at random, and as many as make SCORES scores where the catalogue is large

How the numbers were chosen: batches, rate and patience are those that had been used, set by set, for
ml-100k, ml-1m and two Amazon sets (benchmarks/rows.py), which the rule gives again; for zhihu it gives a batch of 256,
where 64 had been taken. It was checked on a sixth set, the small one above. benchmarks/defaults.py holds it against a
search on five sets; how far that has come is in docs/results.md.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .data.splits import Split, windows
from .train import TrainConfig

NEXT_ITEMS = 2500
STEPS = 16
RATE = 3e-3
UPDATES = 4000
WAIT = 170
CASES, FEWEST = 5000, 500
SCORES = 1e9
"""An epoch's validation then costs some 15 CPU-seconds at most: a million items leave 1,000 cases."""
RULED = ("batch_size", "learning_rate", "epochs", "patience", "validate_cases")


@dataclass(frozen=True)
class Size:
    """What the rule looks at: rows of training and the next items in them, at least 1 each; validation cases; items."""

    rows: int
    next_items: int
    cases: int
    items: int = 1

    @classmethod
    def of(cls, split: Split, *, max_length: int) -> "Size":
        """Measure the training sequences as `train` cuts them."""
        pieces = windows(split.train, max_length)
        return cls(
            max(1, len(pieces)), max(1, sum(len(piece) - 1 for piece in pieces)), len(split.valid), split.n_items
        )


def rule(size: Size, *, batch_size: int | None = None) -> dict[str, Any]:
    """Return the settings of TrainConfig that the rule decides; with another batch_size, those that go with it."""
    if batch_size is None:
        wanted = min(NEXT_ITEMS * size.rows / size.next_items, size.rows / STEPS)
        batch_size = 2 ** min(8, max(4, round(math.log2(wanted))))
    steps = math.ceil(size.rows / batch_size)
    cases = max(FEWEST, min(CASES, int(SCORES / size.items)))
    return {
        "batch_size": batch_size,
        "learning_rate": RATE,
        "epochs": min(200, max(20, math.ceil(UPDATES / steps))),
        "patience": min(10, max(3, math.ceil(WAIT / steps))),
        "validate_cases": cases if size.cases > cases else None,
    }


def suited(split: Split, given: Mapping[str, Any] | None = None) -> TrainConfig:
    """Return how to train on a split: the settings of TrainConfig that are given, and the rule's for the others.

    Raises:
        ConfigError: a given setting is out of range.
    """
    given = dict(given or {})
    max_length = TrainConfig(**given).max_length  # refuses what is out of range before anything is computed from it
    size = Size.of(split, max_length=max_length)
    return TrainConfig(**(rule(size, batch_size=given.get("batch_size")) | given))


def explained(split: Split, config: TrainConfig, given: Collection[str]) -> str:
    """Say in a line what the rule chose for a split, and what is as it was given."""
    ruled = ", ".join(f"{name} {getattr(config, name)}" for name in RULED if name not in given)
    asked = ", ".join(f"{name} {getattr(config, name)}" for name in RULED if name in given)
    size = f"{len(split.train):,} users, {split.n_items:,} items, {sum(map(len, split.train)):,} interactions"
    return f"chosen by size ({size}): {ruled or 'nothing'}" + (f"; as given: {asked}" if asked else "")
