"""The rows of the recommenders' table: a model each, the settings to choose from, and how it is trained."""

from dataclasses import asdict, dataclass, field
from typing import Any

from recsys.models.dreamrec import DreamRecConfig

PAPER = {key: value for key, value in asdict(DreamRecConfig.paper(1)).items() if key != "n_items"}


@dataclass(frozen=True)
class Row:
    """One row of the table: a model, the settings to choose from, and how it is trained (None: it is only fitted).

    A setting named "train.x" goes to the training configuration, the others to the model's.
    """

    model: str
    candidates: tuple[dict[str, Any], ...] = ({},)
    train: dict[str, Any] | None = None
    base: dict[str, Any] = field(default_factory=dict)
    texts: bool = False
    """Whether the model also reads the items' texts, as features and as neighbours."""


NEURAL = {"epochs": 40, "batch_size": 64, "learning_rate": 3e-3, "patience": 5}
PREFIXES = NEURAL | {"epochs": 400, "batch_size": 256, "validate_every": 10, "validate_cases": 400}  # one a row a step
SHORT = {"max_len": 20, "layers": 1, "sample_steps": 4}
WHOLE = {"terminal": 0.8}  # a causal encoder, every position of a history at once
PART = SHORT | {"terminal": 0.8, "positions": "one"}
ROW_WISE = {"epochs": 25, "batch_size": 200, "max_length": 1000, "learning_rate": 3e-3, "validate_every": 5}
ROW_WISE |= {"validate_cases": 1500}  # a row of training is a user's whole sequence
LATER = {"predict": "later", "objective": "softmax", "hidden": [200], "steps": 1}
LATENT = {"predict": "later", "latent": 50, "hidden": [100], "steps": 1}
MASKED = {"validate_every": 4, "validate_cases": 400}  # beams cost more than training
ROWS = {
    "popularity": Row("popularity"),
    "markov-last": Row("markov", ({"window": 1, "degree_power": 0.0},)),
    "markov": Row(
        "markov",
        tuple(
            {"decay": decay, "window": window, "degree_power": power}
            for decay in (0.5, 0.7, 0.9)
            for window in (10, 20)
            for power in (0.5, 0.75)
        ),
    ),
    "ease": Row("ease", tuple({"ridge": ridge} for ridge in (50.0, 500.0, 2000.0))),
    "ease-recency": Row(
        "ease",
        (
            {"recency": "linear", "ridge": 200.0},
            {"recency": "linear", "ridge": 1000.0},
            {"recency": "geometric", "decay": 0.7, "ridge": 200.0},
            {"recency": "geometric", "decay": 0.9, "ridge": 50.0},
            {"recency": "geometric", "decay": 0.9, "ridge": 200.0},
            {"recency": "geometric", "decay": 0.9, "ridge": 500.0},
        ),
    ),
    "sasrec": Row("sasrec", ({"dropout": 0.3},), NEURAL),
    "gru4rec": Row("gru4rec", tuple({"dropout": dropout} for dropout in (0.3, 0.1)), NEURAL),
    "preferdiff": Row("preferdiff", tuple({"weight": weight} for weight in (0.0, 2.0)), NEURAL),
    "diffurec": Row("diffurec", tuple({"delta": delta} for delta in (0.001, 1.0)), PREFIXES, SHORT),
    "diqdiff": Row("diqdiff", tuple({"contrast": contrast} for contrast in (1.0, 0.1)), PREFIXES, SHORT),
    "dreamrec-paper": Row(
        "dreamrec",
        tuple({"train.learning_rate": rate} for rate in (1e-4, 1e-3, 1e-2)),
        {"epochs": 150, "batch_size": 256, "patience": 10, "validate_every": 5, "validate_cases": 400},
        PAPER,
    ),
    "dreamrec": Row("dreamrec", tuple({"dropout": dropout, "terminal": 0.8} for dropout in (0.3, 0.2, 0.1)), NEURAL),
    "dreamrec-gru": Row(
        "dreamrec",
        tuple({"dropout": dropout} for dropout in (0.3, 0.1)),
        NEURAL,
        WHOLE | {"encoder": "gru", "layers": 1},
    ),
    "dreamrec-caser": Row(
        "dreamrec", tuple({"dropout": dropout} for dropout in (0.3, 0.1)), NEURAL, WHOLE | {"encoder": "caser"}
    ),
    "dreamrec-prefixes": Row("dreamrec", tuple({"dropout": dropout} for dropout in (0.3, 0.1)), PREFIXES, PART),
    "dreamrec-bidirectional": Row(
        "dreamrec", tuple({"dropout": dropout} for dropout in (0.3, 0.1)), PREFIXES, PART | {"encoder": "bidirectional"}
    ),
    "dreamrec-tdm": Row(
        "dreamrec",
        tuple({"thin_items": items, "thin_rows": rows} for items, rows in ((0.1, 0.5), (0.3, 0.5), (0.3, 1.0))),
        PREFIXES,
        PART | {"dropout": 0.1},
    ),
    "countdiff": Row("countdiff", tuple({"dropout": dropout} for dropout in (0.3, 0.2)), NEURAL),
    "countdiff-text": Row("countdiff", tuple({"dropout": dropout} for dropout in (0.3, 0.2)), NEURAL, texts=True),
    "diffrec-paper": Row("diffrec", ({},), ROW_WISE | {"batch_size": 400, "learning_rate": 1e-3, "epochs": 50}),
    "diffrec": Row("diffrec", ({},), ROW_WISE, LATER),
    "tdiffrec": Row("diffrec", ({"w_min": 0.1}, {"w_min": 0.5}), ROW_WISE, LATER),
    "ldiffrec": Row("ldiffrec", ({},), ROW_WISE | {"epochs": 80}, LATENT),
    "ddsr": Row("ddsr", tuple({"noise": noise} for noise in (0.05, 0.2)), NEURAL, {"layers": 1}),
    "maskedids": Row(
        "maskedids", tuple({"dropout": dropout} for dropout in (0.3, 0.1)), NEURAL | MASKED, {"layers": 1}
    ),
}
LARGE = {"epochs": 15, "batch_size": 256, "learning_rate": 3e-3, "patience": 3, "validate_cases": 3000}
SMALLER = {"layers": 1, "max_softmax": 2000}
STACKED = ({"dropout": 0.1},), LARGE | {"epochs": 20}, SMALLER
SPARSE = {
    "sasrec": Row("sasrec", ({"dropout": 0.3},), LARGE | {"epochs": 30}, SMALLER),
    "countdiff": Row("countdiff", *STACKED),
    "countdiff-text": Row("countdiff", *STACKED, texts=True),
}
DENSE = {
    "sasrec": Row("sasrec", ({"dropout": 0.3},), NEURAL | {"epochs": 30, "patience": 3}, {"layers": 1}),
    "countdiff": Row("countdiff", ({"dropout": 0.2},), NEURAL | {"epochs": 30, "patience": 3}, {"layers": 1}),
}
FEWER = {  # less to choose from and smaller networks where the catalogue is large, so that a seed takes minutes
    "amazon-beauty": SPARSE
    | {
        "ease": Row("ease", ({"ridge": 200.0},)),
        "ease-recency": Row("ease", ({"recency": "geometric", "decay": 0.7, "ridge": 50.0},)),
        "dreamrec": Row("dreamrec", ({"dropout": 0.1, "terminal": 0.8},), LARGE, SMALLER),
        "dreamrec-paper": Row(
            "dreamrec",
            ({"train.learning_rate": 1e-3},),
            {"epochs": 60, "batch_size": 256, "patience": 6, "validate_every": 5, "validate_cases": 400},
            PAPER,
        ),
    },
    "amazon-sports": SPARSE,
    "ml-1m": DENSE,
    "zhihu": {
        "dreamrec-paper": Row(
            "dreamrec",
            ({"train.learning_rate": 1e-2},),  # as published; ten epochs here are one of every prefix
            {"epochs": 300, "batch_size": 256, "patience": 10, "validate_every": 30, "validate_cases": 3000},
            PAPER,
        ),
    },
    "ml-1m-clean": {"tdiffrec": Row("diffrec", ({"w_min": 0.1},), ROW_WISE, LATER)},
}


def row_of(data: str, name: str) -> Row:
    """The row `name` as it is run on a data set."""
    return FEWER.get(data, {}).get(name, ROWS[name])
