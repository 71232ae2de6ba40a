"""Semantic ids: items as tuples of m codes out of V, made from vectors; the trie of valid tuples, and search in it.

Residual quantisation: Rajput et al., TIGER (2023), with k-means in place of a trained RQ-VAE;
product quantisation: Jégou et al. (2011), after the parametric rotation of Ge et al., Optimized Product Quantization
(2013); vectors from sequences: Levy & Goldberg (2014). Texts become vectors in recsys.counts.texts.
Codes are (n+1, m) int64 in 0..V-1 and unique; row 0 is padding and means nothing.
"""

import heapq
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..clusters import drawn_centres, k_means, squared_distances
from ..errors import ConfigError, DataError
from ..text import from_json


def residual_codes(vectors: Tensor, *, m: int, V: int, generator: torch.Generator) -> Tensor:
    """Quantise vectors (n+1, f) coarse to fine: each digit names the centre nearest to what is left. (n+1, m)."""
    rest, costs = _checked(vectors, m, V), []
    for _ in range(m):
        centres = k_means(rest, drawn_centres(rest, V, generator=generator))
        cost = squared_distances(rest, centres)
        rest = rest - centres[cost.argmin(1)]
        costs.append(_wide(cost, V))
    return unique_codes(torch.stack(costs, dim=1))


def product_codes(vectors: Tensor, *, m: int, V: int, generator: torch.Generator) -> Tensor:
    """Rotate vectors (n+1, f) and quantise m parts on their own: digits in no order, as many as informative. (n+1, m).

    Each part holds the same product of variances, so that no digit knows much more than another (OPQ).
    """
    parts = balanced_rotation(_checked(vectors, m, V), m).chunk(m, dim=1)
    centres = [k_means(part, drawn_centres(part, V, generator=generator)) for part in parts]
    costs = [_wide(squared_distances(part, found), V) for part, found in zip(parts, centres, strict=True)]
    return unique_codes(torch.stack(costs, dim=1))


def spread_codes(n_items: int, *, m: int, V: int) -> Tensor:
    """Number the items with codes that mean nothing, all different and every digit balanced: (n+1, m).

    Item i gets the digits of i·A modulo V^m with A near V^m/golden ratio and coprime to it.
    """
    _check_room(n_items, m, V)
    room = V**m
    step = max(round(room / 1.618033988749895), 1)
    while math.gcd(step, room) != 1:
        step += 1
    numbers = [i * step % room for i in range(n_items + 1)]
    return torch.tensor([[number // V**j % V for j in range(m - 1, -1, -1)] for number in numbers])


QUANTISERS = {"residual": residual_codes, "product": product_codes}


def unique_codes(costs: Tensor) -> Tensor:
    """Give every item its cheapest codes under costs (n, m, V), and items that collide the next best: (n+1, m).

    The first item of a collision keeps the tuple; the others take free ones, cheapest first for their mean cost.
    """
    n, m, V = costs.shape
    _check_room(n, m, V)
    codes = costs.argmin(-1)
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, row in enumerate(map(tuple, codes.tolist())):
        groups.setdefault(row, []).append(i)
    taken = set(groups)
    for members in groups.values():
        others = _by_cost(costs[members].mean(0)) if len(members) > 1 else iter(())
        for i in members[1:]:
            free = next(row for row in others if row not in taken)
            taken.add(free)
            codes[i] = torch.tensor(free)
    return torch.cat([torch.zeros(1, m, dtype=torch.int64), codes])


def with_extra_digit(codes: Tensor, *, V: int) -> Tensor:
    """Append a digit (n+1, m+1) that counts the items of equal codes, 0 for the first (TIGER, section 3.1).

    Raises:
        ConfigError: more than V items share a tuple.
    """
    seen: Counter[tuple[int, ...]] = Counter()
    digits = [0]
    for row in map(tuple, codes[1:].tolist()):
        digits.append(seen[row])
        seen[row] += 1
    if max(digits) >= V:
        raise ConfigError(f"{max(digits) + 1} items share one tuple; allowed are V = {V}: use more digits or codes")
    return torch.cat([codes, torch.tensor(digits).unsqueeze(1)], dim=1)


def balanced_rotation(x: Tensor, m: int) -> Tensor:
    """Turn x (n, f) to its principal axes and deal them to m parts of equal product of variances: (n, m·ceil(f/m)).

    Ge et al. 2013, parametric solution: the axis of most variance goes to the part of least product that has room.
    Columns of zeros fill up.
    """
    width = -(-x.shape[1] // m)
    x = torch.nn.functional.pad(x - x.mean(0), (0, width * m - x.shape[1]))
    variance, axes = torch.linalg.eigh(x.T @ x / len(x))
    size, chosen = [0.0] * m, [[] for _ in range(m)]
    for axis in range(len(variance) - 1, -1, -1):
        part = min((j for j in range(m) if len(chosen[j]) < width), key=lambda j: (size[j], j))
        chosen[part].append(axis)
        size[part] += math.log(max(float(variance[axis]), 1e-12) / max(float(variance[-1]), 1e-12)) + 30
    return x @ axes[:, [axis for part in chosen for axis in part]]


def vectors_from_sequences(sequences: Sequence[np.ndarray], n_items: int, d: int, *, window: int = 5) -> Tensor:
    """Embed items (n+1, d) by what is taken near them: truncated SVD of the positive pointwise mutual information.

    Pairs at most `window` places apart count 1/distance. Rows have norm 1, or 0 for items that never occur.

    Raises:
        DataError: ids outside 1..n_items.
    """
    rows, columns, weights = [], [], []
    for gap in range(1, window + 1):
        for sequence in sequences:
            rows.append(sequence[:-gap])
            columns.append(sequence[gap:])
            weights.append(len(sequence[gap:]) * [1 / gap])
    i, j = (torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *side])) for side in (rows, columns))
    if len(i) and not 1 <= int(min(i.min(), j.min())) <= int(max(i.max(), j.max())) <= n_items:
        raise DataError(f"sequences hold item ids {int(i.min())}..{int(i.max())}; allowed are 1 to {n_items}")
    weight = torch.tensor([w for part in weights for w in part])
    size = (n_items + 1, n_items + 1)
    both = torch.cat([torch.stack([i, j]), torch.stack([j, i])], dim=1)
    counts = torch.sparse_coo_tensor(both, torch.cat([weight, weight]), size, check_invariants=True).coalesce()
    degree, at, value = counts.sum(1).to_dense(), counts.indices(), counts.values()
    information = (value * degree.sum() / (degree[at[0]] * degree[at[1]])).log().clamp(min=0)
    matrix = torch.sparse_coo_tensor(at, information, size, check_invariants=True).coalesce()
    return unit(_main_axes(lambda y: matrix @ y, n_items + 1, d))


def read_codes(path: str | Path, n_items: int) -> Tensor:
    """Read codes (n+1, m) from JSON {"item": ["<a_183>", "<b_70>", …]}; the number in each word is the code.

    Raises:
        DataError: a file that is damaged, or lacks an item or a digit.
    """
    try:
        content = from_json(Path(path).read_text(encoding="utf-8"))
        rows = [[int(re.sub(r"\D", "", word)) for word in content[str(i)]] for i in range(1, n_items + 1)]
        return torch.tensor([[0] * len(rows[0]), *rows])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DataError(f"{path} does not give every item 1..{n_items} the same number of codes: {error}") from error


@dataclass(frozen=True)
class Trie:
    """The valid tuples as a tree: node 0 is the root, and the nodes of a level follow those of the level above."""

    keys: Tensor
    """(nodes - 1,) int64, rising: node i + 1 is the child of parent keys[i] // V by the code keys[i] % V."""
    item: Tensor
    """(nodes,) int64: the item of a leaf, 0 for inner nodes."""
    V: int
    m: int


def build_trie(codes: Tensor, *, V: int) -> Trie:
    """Put unique codes (n+1, m) into a trie; permute the columns first for another order of digits."""
    node, keys, first = torch.zeros_like(codes[1:, 0]), [], 1
    for digit in codes[1:].T:
        key, place = torch.unique(node * V + digit, return_inverse=True)
        node, first = first + place, first + len(key)
        keys.append(key)
    item = torch.zeros(first, dtype=torch.int64, device=codes.device)
    item[node] = torch.arange(1, len(codes), device=codes.device)
    return Trie(torch.cat(keys), item, V, codes.shape[1])


def children(trie: Trie, node: Tensor) -> Tensor:
    """Find the child of nodes (...) by every code: (..., V) int64, -1 where the code is not valid or node is -1."""
    wanted = node.unsqueeze(-1) * trie.V + torch.arange(trie.V, device=node.device)
    at = torch.searchsorted(trie.keys, wanted).clamp(max=len(trie.keys) - 1)
    return torch.where(trie.keys[at] == wanted, at + 1, -1)


def find_items(trie: Trie, codes: Tensor) -> Tensor:
    """Look up the items (...) of code tuples (..., m), 0 where there is none."""
    node = torch.zeros_like(codes[..., 0])
    for digit in codes.unbind(-1):
        node = children(trie, node).gather(-1, digit.unsqueeze(-1))[..., 0]
    return torch.where(node >= 0, trie.item[node.clamp(min=0)], 0)


LogProbabilities = Callable[[Tensor], Tensor]
"""Prefixes (B, W, j) of j codes -> log-probabilities (B, W, V) of the next code."""


def beam_search(log_probabilities: LogProbabilities, trie: Trie, *, users: int, beams: int) -> tuple[Tensor, Tensor]:
    """Find the likeliest valid items: ids (users, W) int64 and the sums of their digits' logs, best first.

    W is `beams`, or what the trie holds; 0 and -inf where a user has fewer.
    """
    device = trie.keys.device
    node = torch.zeros(users, 1, dtype=torch.int64, device=device)
    score = torch.zeros(users, 1, device=device)
    prefix = torch.zeros(users, 1, 0, dtype=torch.int64, device=device)
    for _ in range(trie.m):
        child = children(trie, node)
        total = score.unsqueeze(-1) + log_probabilities(prefix)
        total = total.masked_fill(child < 0, -torch.inf).flatten(1)
        score, at = total.topk(min(beams, total.shape[1]), dim=1)
        node, prefix = child.flatten(1).gather(1, at), _extend(prefix, at, trie.V)
    return torch.where(score > -torch.inf, trie.item[node.clamp(min=0)], 0), score


def draw_items(log_probabilities: LogProbabilities, trie: Trie, u: Tensor) -> Tensor:
    """Draw valid items (B, W) digit by digit with u (B, W, m) uniform in 0..1; invalid codes lose their probability."""
    node = torch.zeros_like(u[..., 0], dtype=torch.int64)
    prefix = torch.zeros_like(u[..., :0], dtype=torch.int64)
    for j in range(trie.m):
        child = children(trie, node)
        logs = log_probabilities(prefix).masked_fill(child < 0, -torch.inf)
        total = logs.double().softmax(-1).cumsum(-1)
        code = (u[..., j, None].double() * total[..., -1:] >= total).sum(-1, keepdim=True)
        code = torch.minimum(code, trie.V - 1 - (child.flip(-1) >= 0).int().argmax(-1, keepdim=True))
        node = child.gather(-1, code)[..., 0]
        prefix = torch.cat([prefix, code], dim=-1)
    return trie.item[node]


def _by_cost(cost: Tensor) -> Iterator[tuple[int, ...]]:
    """Yield code tuples from the cheapest on, for cost (m, V) >= 0 (multi-sequence, Babenko & Lempitsky 2012)."""
    ordered, order = cost.sort(dim=1)
    steps, order, (m, V) = ordered.tolist(), order.tolist(), cost.shape
    heap = [(sum(row[0] for row in steps), (0,) * m, 0)]
    while heap:
        total, ranks, last = heapq.heappop(heap)
        yield tuple(order[j][rank] for j, rank in enumerate(ranks))
        for j in range(last, m):  # each tuple has one parent: the one with its last raised digit lowered
            if ranks[j] + 1 < V:
                more = total + steps[j][ranks[j] + 1] - steps[j][ranks[j]]
                heapq.heappush(heap, (more, (*ranks[:j], ranks[j] + 1, *ranks[j + 1 :]), j))


def _main_axes(apply: Callable[[Tensor], Tensor], size: int, d: int, *, rounds: int = 6) -> Tensor:
    """Embed by the d largest eigenvalues of a symmetric matrix, √|λ| u: (size, d); zeros where size < d.

    Randomised subspace iteration (Halko et al. 2011) from fixed numbers.
    """
    width = min(d + 8, size)
    basis = torch.randn(size, width, generator=torch.Generator().manual_seed(0))
    for _ in range(rounds):
        basis = torch.linalg.qr(apply(basis)).Q
    small = basis.T @ apply(basis)
    value, vector = torch.linalg.eigh((small + small.T) / 2)
    best = value.argsort(descending=True)[:d]
    axes = basis @ vector[:, best] * value[best].clamp(min=0).sqrt()
    return torch.nn.functional.pad(axes, (0, d - len(best)))


def unit(vectors: Tensor) -> Tensor:
    """Scale rows (n, f) to norm 1 and leave rows of zeros."""
    norm = vectors.norm(dim=1, keepdim=True)
    return torch.where(norm > 1e-6, vectors / norm.clamp(min=1e-6), torch.zeros_like(vectors))


def _extend(prefix: Tensor, at: Tensor, V: int) -> Tensor:
    """Continue the prefixes (B, W, j) chosen by at (B, W'), flat over W·V: (B, W', j+1)."""
    parent = (at // V).unsqueeze(-1).expand(-1, -1, prefix.shape[-1])
    return torch.cat([prefix.gather(1, parent), (at % V).unsqueeze(-1)], dim=-1)


def _wide(cost: Tensor, V: int) -> Tensor:
    """Fill costs (n, k') up to V codes; a code without a centre costs more than any with one."""
    return torch.nn.functional.pad(cost, (0, V - cost.shape[1]), value=2 * float(cost.max()) + 1)


def _checked(vectors: Tensor, m: int, V: int) -> Tensor:
    """The items' rows (n, f), when they can be quantised."""
    if vectors.ndim != 2 or len(vectors) < 2 or not bool(vectors.isfinite().all()):
        raise DataError(f"vectors have shape {tuple(vectors.shape)}; give finite values of shape (n + 1, f)")
    _check_room(len(vectors) - 1, m, V)
    return vectors[1:].float()


def _check_room(n_items: int, m: int, V: int) -> None:
    if not 1 <= n_items <= V**m < 2**62:
        raise ConfigError(f"m = {m} digits of V = {V} codes make {V**m} tuples; allowed are {n_items} (one an item) "
                          "to 2^62: change m or V")  # fmt: skip
