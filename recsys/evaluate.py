"""Measure a recommender by full ranking over the whole catalogue, with one value a case and bootstrap intervals.

With R the set of a case's targets, rank(i) the place of item i from 1, and a cut-off k:
recall@k = |R ∩ top k| / |R|; hit@k = 1 if any target is in the top k; ndcg@k = sum over hits of 1/log2(1 + rank),
divided by the same sum of an ideal list, min(|R|, k) hits at the top; mrr@k = 1 / rank of the first hit, 0 if none is
in the top k. With one target a case, recall and hit are the same. coverage@k is the share of the catalogue that occurs
in at least one user's top k.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .data.splits import pad
from .errors import ConfigError, DataError
from .types import Cases, Generative, Recommender, device_of


@dataclass(frozen=True)
class Report:
    """What `evaluate` found: means, 95 % intervals over cases, and one value a case (C,) for each metric."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    per_case: dict[str, np.ndarray]
    n_cases: int
    exclude_seen: bool
    seen_targets: float
    """Share of targets that are in their own case's history; a masked evaluation can never find those."""
    ranked: np.ndarray
    """The rankings that were scored: items (C, K) int64 to the highest cut-off, 0 where a user has fewer left."""


def evaluate(
    recommender: Recommender,
    cases: Cases,
    *,
    at: Sequence[int] = (5, 10, 20),
    exclude_seen: bool = True,
    batch_size: int = 256,
    max_length: int | None = None,
    resamples: int = 1000,
    generator: torch.Generator | None = None,
) -> Report:
    """Rank every case's history over the whole catalogue and score the ranking against its targets.

    `exclude_seen` masks the items of the history (and of `cases.seen`); published tables differ in this silently, so
    report it. `max_length` cuts histories before the recommender sees them, and with them what is masked. `generator`
    goes to `recommend`; the bootstrap has its own fixed seed. `resamples=0` leaves the intervals out.

    Raises:
        ConfigError: a cut-off outside 1..n_items. DataError: no cases.
    """
    _check(recommender, cases, at)
    ranked = rank_cases(
        recommender,
        cases,
        max(at),
        exclude_seen=exclude_seen,
        batch_size=batch_size,
        max_length=max_length,
        generator=generator,
    )
    per_case = score(ranked, cases.targets, at=at)
    metrics = {name: float(values.mean()) for name, values in per_case.items()}
    for k in at:
        items = ranked[:, :k]
        metrics[f"coverage@{k}"] = len(np.unique(items[items > 0])) / recommender.n_items
    seen = [np.isin(target, history) for target, history in zip(cases.targets, cases.histories, strict=True)]
    return Report(
        metrics,
        intervals(per_case, resamples=resamples),
        per_case,
        len(cases),
        exclude_seen,
        float(np.concatenate(seen).mean()),
        ranked,
    )


def rank_cases(
    recommender: Recommender,
    cases: Cases,
    k: int,
    *,
    exclude_seen: bool = True,
    batch_size: int = 256,
    max_length: int | None = None,
    generator: torch.Generator | None = None,
) -> np.ndarray:
    """Rank every case in chunks of `batch_size`; return the items (C, k) int64, 0 where a user has fewer left."""
    ranked = np.zeros((len(cases), k), np.int64)
    for low in range(0, len(cases), batch_size):
        rows = slice(low, low + batch_size)
        history = pad(cases.histories[rows], length=None).to(device_of(recommender))
        if max_length is not None:
            history = history[:, -max_length:]
        banned = cases.seen[rows] if exclude_seen and cases.seen is not None else None
        wanted = k if banned is None else min(recommender.n_items, k + max(map(len, banned)))
        with torch.no_grad():
            items = recommender.recommend(history, wanted, exclude_seen=exclude_seen, generator=generator).items
        ranked[rows] = _without(items.cpu().numpy(), banned, k)
    return ranked


def score(ranked: np.ndarray, targets: Sequence[np.ndarray], *, at: Sequence[int]) -> dict[str, np.ndarray]:
    """Score rankings (C, k) against target sets: recall, hit, ndcg and mrr at each cut-off, each (C,) float64."""
    hits = _hits(ranked, targets)
    sizes = np.array([len(np.unique(target)) for target in targets])
    gain = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    ideal = np.concatenate([[0.0], np.cumsum(gain)])
    found = np.where(hits.any(1), hits.argmax(1) + 1, 0)
    result = {}
    for k in at:
        top = hits[:, :k]
        result[f"recall@{k}"] = top.sum(1) / sizes
        result[f"hit@{k}"] = top.any(1).astype(float)
        result[f"ndcg@{k}"] = (top * gain[:k]).sum(1) / ideal[np.minimum(sizes, k)]
        result[f"mrr@{k}"] = np.where((found > 0) & (found <= k), 1 / np.maximum(found, 1), 0.0)
    return result


def novelty(ranked: np.ndarray, counts: np.ndarray) -> float:
    """Average the surprise -log2 p(i) of recommended items in bits; p is an item's share of all interactions.

    ranked (C, k), 0 for none; counts (n+1,) of the training interactions, one added to each so that unseen items have a
    share too (Zhou et al., PNAS 2010).
    """
    share = (counts + 1.0) / (counts[1:] + 1.0).sum()
    return float(-np.log2(share[ranked[ranked > 0]]).mean())


def intra_list_distance(ranked: np.ndarray, features: np.ndarray) -> float:
    """Average 1 - cosine over all pairs within lists: 0 for lists of one thing (Ziegler et al., WWW 2005).

    ranked (C, k) with k >= 2, 0 for none; features (n+1, f). Items without features count as unlike all others.
    """
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.maximum(norms, 1e-9)
    total, pairs = 0.0, 0
    for items in ranked:
        rows = unit[items[items > 0]]
        n = len(rows)
        if n > 1:
            total += n * (n - 1) / 2 - float((np.square(rows.sum(0)).sum() - np.square(rows).sum()) / 2)
            pairs += n * (n - 1) // 2
    return total / pairs if pairs else 0.0


def draw_calibration(
    model: Generative, cases: Cases, *, draws: int = 8, batch_size: int = 64, generator: torch.Generator | None = None
) -> dict[str, float]:
    """Draw several next items for each case: how often a draw is a target, and how often two draws are the same item.

    A draw is the item nearest to an embedding that `model.generate` made. Where draws follow the true distribution p of
    the next item, both are the mean of sum_i p_i² (with one target a case): more agreement than hits is overconfidence.

    Raises:
        ConfigError: fewer than two draws.
        DataError: no cases.
    """
    if draws < 2:
        raise ConfigError(f"draws = {draws}; two draws at least can agree")
    if not len(cases):
        raise DataError("there are no cases to draw for")
    items, hits, agree = model.item_embeddings()[1:], [], []
    for low in range(0, len(cases), batch_size):
        with torch.no_grad():
            generated = model.generate(
                pad(cases.histories[low : low + batch_size], length=None), draws=draws, generator=generator
            )
            drawn = torch.cdist(generated.flatten(0, 1), items).argmin(1).view(len(generated), draws).cpu().numpy() + 1
        for row, target in zip(drawn, cases.targets[low : low + batch_size], strict=True):
            hits.append(np.isin(row, target).mean())
            same = np.unique(row, return_counts=True)[1]
            agree.append((same * (same - 1)).sum() / (draws * (draws - 1)))
    return {"draw_is_target": float(np.mean(hits)), "draws_agree": float(np.mean(agree))}


def intervals(
    per_case: dict[str, np.ndarray], *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Bootstrap the mean of each metric over cases, the same resamples for all; return (low, high) percentiles."""
    if not per_case or resamples == 0:
        return {}
    values = np.stack(list(per_case.values()), axis=1)
    means = _resampled_means(values, resamples, seed)
    tail = 50 * (1 - confidence)
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(per_case)}


def difference(
    first: np.ndarray, second: np.ndarray, *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """Compare two recommenders on the same cases: the mean of first - second and its paired bootstrap interval.

    `first` and `second` (C,) are one metric's values from two reports.

    Raises:
        DataError: the lengths differ.
    """
    if first.shape != second.shape:
        raise DataError(
            f"{len(first)} and {len(second)} cases: a paired comparison needs both reports on the same cases"
        )
    gap = first - second
    low, high = intervals({"gap": gap}, resamples=resamples, confidence=confidence, seed=seed)["gap"]
    return float(gap.mean()), low, high


def sign_flip_test(first: np.ndarray, second: np.ndarray, *, resamples: int = 10_000, seed: int = 0) -> float:
    """Return the two-sided p-value of the paired difference of two recommenders on the same cases, both (C,).

    Under the null hypothesis either value of a case could be the first's: signs of first - second are flipped at random
    (Fisher's randomisation test; Smucker et al., CIKM 2007).

    Raises:
        DataError: the lengths differ.
    """
    if first.shape != second.shape:
        raise DataError(f"{len(first)} and {len(second)} cases: a paired test needs both reports on the same cases")
    gap = (first - second)[first != second]
    if not len(gap):
        return 1.0
    rng, extreme = np.random.default_rng(seed), 0
    for low in range(0, resamples, 500):
        signs = rng.integers(0, 2, (min(500, resamples - low), len(gap)), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ gap) >= abs(gap.sum()) - 1e-12).sum())
    return (extreme + 1) / (resamples + 1)


def _resampled_means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Average (C, M) over `resamples` draws of C cases with replacement; return (resamples, M)."""
    rng = np.random.default_rng(seed)
    n = len(values)
    means = np.empty((resamples, values.shape[1]))
    for row in range(resamples):
        counts = np.bincount(rng.integers(n, size=n), minlength=n)
        means[row] = counts @ values / n
    return means


def _hits(ranked: np.ndarray, targets: Sequence[np.ndarray]) -> np.ndarray:
    """Mark where a ranking (C, k) holds one of its targets; 0 is never a target. Returns (C, k) bool."""
    n = 1 + max(int(ranked.max(initial=0)), max(int(np.max(target)) for target in targets))
    row = np.repeat(np.arange(len(targets)), [len(target) for target in targets])
    wanted = np.unique(row * n + np.concatenate(list(targets)))
    codes = np.arange(len(ranked))[:, None] * n + ranked
    return np.isin(codes, wanted) & (ranked > 0)


def _without(items: np.ndarray, banned: Sequence[np.ndarray] | None, k: int) -> np.ndarray:
    """Drop each row's banned items from (B, K) and keep the first k; short rows end in 0."""
    if banned is None:
        return items
    kept = np.zeros((len(items), k), np.int64)
    for row, (ranking, ban) in enumerate(zip(items, banned, strict=True)):
        allowed = ranking[~np.isin(ranking, ban)][:k]
        kept[row, : len(allowed)] = allowed
    return kept


def _check(recommender: Recommender, cases: Cases, at: Sequence[int]) -> None:
    if len(cases) == 0:
        raise DataError("there are no cases to evaluate; leave-one-out needs users with at least 3 items")
    if not at or min(at) < 1 or max(at) > recommender.n_items:
        raise ConfigError(f"cut-offs are {tuple(at)}; allowed are 1 to n_items = {recommender.n_items}")
    if any(len(target) == 0 for target in cases.targets):
        raise DataError("a case has no target; drop the cases without one")
