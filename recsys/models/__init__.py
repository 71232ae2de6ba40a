"""Every recommender by name: one paper a file, and this table of (class, configuration)."""

from typing import Any

from .countdiff import CountDiff, CountDiffConfig
from .ddsr import DDSR, DDSRConfig
from .diffrec import DiffRec, DiffRecConfig
from .diffuasr import DiffuASR, DiffuASRConfig
from .diffurec import DiffuRec, DiffuRecConfig
from .diqdiff import DiQDiff, DiQDiffConfig
from .dreamrec import DreamRec, DreamRecConfig
from .ease import Ease, EaseConfig
from .gru4rec import GRU4Rec, GRU4RecConfig
from .ldiffrec import LDiffRec, LDiffRecConfig
from .markov import Markov, MarkovConfig
from .maskedids import MaskedIds, MaskedIdsConfig
from .popularity import Popularity, PopularityConfig
from .preferdiff import PreferDiff, PreferDiffConfig
from .robust import Robust, RobustConfig
from .sasrec import SASRec, SASRecConfig

MODELS: dict[str, tuple[Any, Any]] = {
    "popularity": (Popularity, PopularityConfig),
    "markov": (Markov, MarkovConfig),
    "ease": (Ease, EaseConfig),
    "sasrec": (SASRec, SASRecConfig),
    "gru4rec": (GRU4Rec, GRU4RecConfig),
    "dreamrec": (DreamRec, DreamRecConfig),
    "countdiff": (CountDiff, CountDiffConfig),
    "preferdiff": (PreferDiff, PreferDiffConfig),
    "diffurec": (DiffuRec, DiffuRecConfig),
    "diqdiff": (DiQDiff, DiQDiffConfig),
    "diffrec": (DiffRec, DiffRecConfig),
    "ldiffrec": (LDiffRec, LDiffRecConfig),
    "ddsr": (DDSR, DDSRConfig),
    "maskedids": (MaskedIds, MaskedIdsConfig),
}

ENHANCERS = {"diffuasr": (DiffuASR, DiffuASRConfig), "robust": (Robust, RobustConfig)}
"""What makes another recommender's data or embeddings better and ranks nothing itself."""
