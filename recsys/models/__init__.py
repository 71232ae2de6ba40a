"""Every recommender by name: one paper a file, and this table of (class, configuration)."""

from .dreamrec import DreamRec, DreamRecConfig
from .ease import Ease, EaseConfig
from .markov import Markov, MarkovConfig
from .popularity import Popularity, PopularityConfig
from .sasrec import SASRec, SASRecConfig

MODELS = {
    "popularity": (Popularity, PopularityConfig),
    "markov": (Markov, MarkovConfig),
    "ease": (Ease, EaseConfig),
    "sasrec": (SASRec, SASRecConfig),
    "dreamrec": (DreamRec, DreamRecConfig),
}
