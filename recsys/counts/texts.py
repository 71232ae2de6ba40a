"""Turn short item texts (titles, keywords) into feature vectors and neighbours, without any model trained elsewhere.

Both start from TF-IDF over words, rows of unit norm. Features are its truncated singular value decomposition (latent
semantic analysis, Deerwester et al. 1990); columns keep their singular values and the whole is scaled to unit mean
square. Neighbours are the items of the highest cosine over all words, which keep the rare ones (a brand, a series).
"""

import re
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from .transitions import Transitions, nearest

WORD = re.compile(r"[^\W_]+")


def text_features(texts: Sequence[str], *, dimensions: int, min_count: int = 2, seed: int = 0) -> Tensor:
    """Describe items by their texts: features (n+1, f) float32, of mean square 1 over the items with words.

    f is `dimensions`, or the number of items or of words where that is smaller. texts[0] belongs to padding, and its
    row is zero, as are rows of items without a word that occurs in `min_count` texts.

    Raises:
        ConfigError: dimensions below 1.
        DataError: no word is common.
    """
    if dimensions < 1:
        raise ConfigError(f"dimensions is {dimensions}; it must be at least 1")
    matrix = _tf_idf(_words(texts), min_count)
    dimensions = min(dimensions, *matrix.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        left, values, _ = torch.svd_lowrank(matrix, q=min(dimensions + 16, min(matrix.shape)), niter=4)
    filled = torch.zeros(len(texts)).index_fill_(0, matrix.coalesce().indices()[0], 1.0)
    features = left[:, :dimensions] * values[:dimensions] * filled.unsqueeze(1)
    return features / features[filled > 0].square().mean().sqrt()


def text_neighbours(texts: Sequence[str], *, count: int = 50, min_count: int = 2) -> Transitions:
    """Find the `count` items most like each, itself left out: row i holds them, weights their cosine in (0, 1].

    texts[0] belongs to padding and has none. Items that share no word are no neighbours.

    Raises:
        ConfigError: as `nearest`.
        DataError: no word is common.
    """
    return nearest(_tf_idf(_words(texts), min_count), count=count)


def _words(texts: Sequence[str]) -> list[list[str]]:
    """Split every text into words; padding's (the first) has none."""
    return [[], *(WORD.findall(text.lower()) for text in texts[1:])]


def _tf_idf(words: list[list[str]], min_count: int) -> Tensor:
    """(items, words) sparse, rows of unit norm."""
    spread = Counter(word for row in words for word in set(row))
    columns = {word: i for i, word in enumerate(sorted(w for w, count in spread.items() if count >= min_count))}
    if not columns:
        raise DataError(f"no word occurs in {min_count} of {len(words) - 1} item texts; these texts describe nothing")
    idf = torch.tensor([spread[word] for word in columns]).double()
    idf = (len(words) / idf).log()
    cells: dict[tuple[int, int], int] = Counter(
        (i, columns[word]) for i, row in enumerate(words) for word in row if word in columns
    )
    index = torch.tensor(list(cells)).T
    values = torch.tensor(list(cells.values())).double().log1p() * idf[index[1]]
    norms = torch.zeros(len(words)).double().index_add_(0, index[0], values**2).sqrt()
    values = (values / norms[index[0]].clamp(min=1e-9)).float()
    return torch.sparse_coo_tensor(index, values, (len(words), len(columns)), check_invariants=False)
