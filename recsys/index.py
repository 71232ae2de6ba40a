"""Rank a large catalogue through an approximate index, without a score for every item.

A model that says what it looks for as a query, and what it knows of few items besides (`recsys.types.Indexable`), is
asked for both. The index names the items nearest to the query, the evidence names its own; all of these, and no
others, are scored exactly, so that the result is the exact top k of their union. Where the index misses nothing and no
evidence speaks against an item, that is the ranking of all items: a better item without evidence would be near the
query. Time grows with the evidence and with the logarithm of the catalogue.

The index is usearch's graph (Malkov & Yashunin, HNSW, IEEE TPAMI 2020) of inner products, in bfloat16; it was chosen
with these settings from benchmarks/index.py. It is saved with the model, since building it takes minutes at a million
items, and is read as memory that processes share. Scores are log-probabilities among the items of the union.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .counts.transitions import Transitions, named_rows
from .errors import ConfigError, DataError, ModelError, ResourceError, shown
from .folders import flush, flush_names
from .ranking import check_history, check_k, top_k
from .saved import fingerprint
from .text import from_json
from .types import PAD, Asked, Indexable, Ranking

INDEX, ABOUT = "index.usearch", "index.json"
LARGE = 200_000
"""Items from which on an index is made when a recommender is saved, and asked for when it ranks; at half as many,
scoring all of them takes no longer (benchmarks/catalogue.py)."""
LINKS, BREADTH_BUILT, BREADTH_ASKED, DEPTH = 16, 128, 512, 200
"""Links of an item; items looked at while one is put in, and while one asks; items that a user gets at least."""
USERS = 64
"""Users ranked at a time."""


def installed() -> bool:
    """Tell whether the package of the index is there."""
    return importlib.util.find_spec("usearch") is not None


def _graph_class() -> Any:
    try:
        from usearch.index import Index
    except ModuleNotFoundError as error:
        raise ConfigError(
            "an index needs usearch, which is not installed; run: pip install 'personagen[scale]'"
        ) from error
    return Index


class Index:
    """The items 1..n by their vectors: `nearest` finds those of the largest inner products, most of the time."""

    def __init__(self, graph: Any):
        self._graph = graph
        graph.expansion_search = BREADTH_ASKED

    def __len__(self) -> int:
        return len(self._graph)

    @classmethod
    def build(cls, vectors: Tensor) -> "Index":
        """Index vectors (n+1, D); row 0 is left out. Takes some eight CPU-minutes for a million.

        Raises:
            ConfigError: usearch is not installed.
            DataError: a number is none.
        """
        graph_class = _graph_class()
        if not bool(vectors.isfinite().all()):
            raise DataError("items' vectors hold NaN or infinity; train the recommender again")
        graph = graph_class(ndim=vectors.shape[1], metric="ip", dtype="bf16", connectivity=LINKS,
                      expansion_add=BREADTH_BUILT)  # fmt: skip
        graph.add(np.arange(1, len(vectors)), vectors[1:].float().cpu().numpy(), threads=torch.get_num_threads())
        return cls(graph)

    def nearest(self, query: Tensor, count: int) -> Tensor:
        """Find `count` items for each query (B, D): (B, count) int64, 0 where there are fewer."""
        asked = query.float().cpu().numpy()
        found = self._graph.search(asked, min(count, len(self)), threads=torch.get_num_threads())
        keys = np.atleast_2d(np.asarray(found.keys)).astype(np.int64)
        counts = np.atleast_1d(np.asarray(getattr(found, "counts", keys.shape[1])))
        keys[np.arange(keys.shape[1]) >= counts[:, None]] = PAD
        return torch.from_numpy(keys)

    def save(self, folder: Path) -> None:
        """Write the index to the folder of its model, which is told by its fingerprint.

        Raises:
            ModelError: there is no model in it.
            ResourceError: the disk refuses.
        """
        about = {"model": fingerprint(folder), "items": len(self), "width": self._graph.ndim}
        part = folder / f".{INDEX}.tmp"
        try:
            (folder / ABOUT).unlink(missing_ok=True)  # without it there is no index, whatever ends the process
            self._graph.save(str(part))
            flush(part)
            part.replace(folder / INDEX)
            told = folder / f".{ABOUT}.tmp"
            told.write_text(json.dumps(about) + "\n", encoding="utf-8")
            flush(told)
            told.replace(folder / ABOUT)
            flush_names(folder)
        except (OSError, RuntimeError) as error:
            part.unlink(missing_ok=True)
            raise ResourceError(f"cannot write {folder / INDEX}: {error}; free disk space") from error

    @classmethod
    def load(cls, folder: Path) -> "Index | None":
        """Open the index of the model in a folder; None: there is none, or it is another model's.

        Raises:
            ConfigError: usearch is not installed.
            ModelError: it is damaged.
        """
        graph_class = _graph_class()
        if not (folder / ABOUT).is_file():
            return None
        try:
            about = from_json((folder / ABOUT).read_text(encoding="utf-8"))
            if about["model"] != fingerprint(folder):
                return None
            graph = graph_class.restore(str(folder / INDEX), view=True)
            if graph is None or (len(graph), graph.ndim) != (about["items"], about["width"]):
                raise ValueError("it is not of the size that index.json says")
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ModelError(
                f"cannot read {folder / INDEX}: {shown(error, most=200)}; make it again: "
                f"personagen recommend index --recommender {folder}"
            ) from error
        return cls(graph)


class Indexed:
    """A recommender that ranks through an index: any `Indexable` model, which answers for everything else.

    Raises:
        ConfigError: its settings allow no index.
        ModelError: the index is of other items.
    """

    def __init__(self, model: Indexable, index: Index):
        vectors = model.item_vectors()
        if vectors is None:
            raise ConfigError(UNFIT)
        if len(index) != len(vectors) - 1:
            raise ModelError(f"the index has {len(index)} items and the model {len(vectors) - 1}; make it again")
        self.model, self.index, self.vectors, self.n_items = model, index, vectors, model.n_items

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the k best of the items that the index and the evidence name for each history (B, L).

        Raises:
            DataError: `history` has another type or shape, unknown items, or padding after an item.
            ConfigError: k is outside 1..n.
        """
        check_history(history, self.n_items)
        check_k(k, self.n_items)
        history = history.to(self.vectors.device)
        lengths, parts = (history != PAD).sum(1), []
        order = lengths.argsort(stable=True)
        for rows in order.split(USERS):
            some = history[rows, -max(int(lengths[rows].max()), 1) :]
            with torch.no_grad():
                asked = self.model.ask(some, self.vectors, generator=generator)
                depth = max(DEPTH, 2 * k) + lengths[rows]  # each user's own, whoever is asked for with them
                near = self.index.nearest(asked.query, int(depth.max())).to(history.device)
                near.masked_fill_(torch.arange(near.shape[1], device=depth.device) >= depth.unsqueeze(1), PAD)
                parts.append(best_of_union(asked, self.vectors, near, some if exclude_seen else None, k))
        back = order.argsort()
        return Ranking(torch.cat([p.items for p in parts])[back], torch.cat([p.scores for p in parts])[back])


def nearly_nearest(features: Tensor, *, count: int = 50) -> Transitions:
    """Find the `count` items most like each through an index: `nearest` for large catalogues, which misses a few.

    features (n+1, f), rows of unit norm or zero; row 0 is padding. Weights are exact inner products in (0, 1].

    Raises:
        ConfigError: usearch is not installed.
        DataError: a number is none.
    """
    index, found = Index.build(features), [(torch.zeros(1, count, dtype=torch.int64), torch.zeros(1, count))]
    for rows in torch.arange(1, len(features)).split(USERS):
        items = index.nearest(features[rows], count + 1)
        likes = torch.einsum("rf,rcf->rc", features[rows], features[items]).clamp(max=1.0)
        likes.masked_fill_((items == rows.unsqueeze(1)) | (items == PAD), -1.0)  # itself is the nearest of all
        likes, order = likes.topk(min(count, likes.shape[1]), dim=1)
        found.append((items.gather(1, order), likes))
    return named_rows(*(torch.cat(part) for part in zip(*found, strict=True)))


UNFIT = "this recommender ranks in several steps or draws, or has new items, and so through no index; rank it without"


def best_of_union(asked: Asked, vectors: Tensor, near: Tensor, seen: Tensor | None, k: int) -> Ranking:
    """Rank the k best of the items `near` (B, c) and those of the evidence, scored by vectors (n+1, D); never `seen`.

    Scores are log-probabilities among these items; a user for whom fewer than k are left gets 0 with -inf at the end.
    """
    users, width = len(asked.query), len(vectors)
    own = torch.arange(users, device=near.device).unsqueeze(1) * width
    found = (own + near).flatten()
    codes, places = torch.cat([asked.cells, found]).unique(return_inverse=True)
    scores = torch.zeros(len(codes), device=codes.device)
    scores[places[: len(asked.cells)]] = asked.values
    rows, items = codes // width, codes % width
    counts = torch.bincount(rows, minlength=users).tolist()
    own_scores = [vectors.index_select(0, part) @ query for part, query in zip(items.split(counts), asked.query)]
    scores += torch.cat(own_scores)  # a user at a time: what is gathered fits a processor's cache
    out = items == PAD
    if seen is not None:
        out |= torch.isin(codes, (own + seen).flatten())
    scores.masked_fill_(out, -torch.inf)
    starts = torch.searchsorted(rows, torch.arange(users, device=rows.device))
    column = torch.arange(len(codes), device=rows.device) - starts[rows] + 1  # 0 is padding's
    table = torch.full((users, max(int(column.max()), k) + 1), -torch.inf, device=rows.device)
    table[rows, column] = scores
    names = torch.zeros_like(table, dtype=torch.int64)
    names[rows, column] = items
    table -= table.logsumexp(1, keepdim=True).clamp(min=-3e38)  # a user with nothing left keeps -inf
    best = top_k(table, column.new_zeros(users, 1), k, exclude_seen=False)
    return Ranking(names.gather(1, best.items), best.scores)
