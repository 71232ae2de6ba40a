"""Words that a model learns by their embeddings: textual inversions (Gal et al., arXiv 2208.01618).

Files of diffusers hold the vectors under the word itself, those of A1111 as `emb_params`, those for SDXL as `clip_l`
and `clip_g`; the last two are called by their file's name. A word of several vectors takes as many places in a prompt.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from recsys.errors import ConfigError, ModelError, shown

ENCODERS = (("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2"))
KEYS = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
LEARNT = "learned_embeds.safetensors"
MOST = 75
"""Vectors that a prompt has room for."""


def load_embedding(pipe: Any, path: str | Path) -> str:
    """Teach a pipeline the word of a textual inversion; return the word.

    path: a .safetensors file, or a folder with learned_embeds.safetensors.

    Raises:
        ConfigError: the model knows the word already.
        ModelError: the file is missing, damaged, pickled, or made for another base model.
    """
    name, vectors = read_embedding(path)
    for encoder, _ in encoders(pipe):
        if KEYS[encoder] not in vectors:
            raise _other_base(f"the embedding {path}", pipe, encoder, "none")
    teach_word(pipe, name, vectors, source=f"the embedding {path}")
    return name


def teach_word(pipe: Any, name: str, vectors: Mapping[str, Tensor], *, source: str) -> None:
    """Teach the text encoders a word by its vectors (n, d), `clip_l` and `clip_g`; all are checked before any changes.

    source: what the vectors come from, for messages.

    Raises:
        ConfigError: the model knows the word already.
        ModelError: the vectors were made for another base model.
    """
    parts = [(encoder, tokenizer) for encoder, tokenizer in encoders(pipe) if KEYS[encoder] in vectors]
    for encoder, tokenizer in parts:
        rows = torch.atleast_2d(vectors[KEYS[encoder]])
        if rows.ndim != 2 or rows.shape[1] != _width(pipe, encoder):
            raise _other_base(source, pipe, encoder, f"width {rows.shape[-1]}")
        if name in getattr(pipe, tokenizer).get_vocab():
            raise ConfigError(f"the model knows the word {name!r} of {source} already; load it once, or rename it")
    for encoder, _ in parts:
        rows = torch.atleast_2d(vectors[KEYS[encoder]])
        set_rows(pipe, encoder, [name, *(f"{name}_{i}" for i in range(1, len(rows)))], rows)


def _width(pipe: Any, encoder: str) -> int:
    return getattr(pipe, encoder).get_input_embeddings().weight.shape[1]


def _other_base(source: str, pipe: Any, encoder: str, found: str) -> ModelError:
    return ModelError(
        f"{source} is for another base model: {encoder} takes width {_width(pipe, encoder)} and the file has {found}; "
        "use the base it was trained on"
    )


def read_embedding(path: str | Path) -> tuple[str, dict[str, Tensor]]:
    """Read a textual inversion: its word, and vectors (n, d) as `clip_l` and, for SDXL, `clip_g`.

    Raises:
        ModelError: the file is missing, damaged or pickled, or holds something else.
    """
    file = Path(path) / LEARNT if Path(path).is_dir() else Path(path)
    if file.suffix != ".safetensors":
        raise ModelError(f"{file} is no .safetensors file; nothing pickled (.pt, .bin) is read, so convert it first")
    if not file.is_file():
        raise ModelError(f"there is no embedding at {file}; give a .safetensors file, or a folder with {LEARNT}")
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"the embedding {file} cannot be read ({shown(error, most=200)}); fetch it again") from error
    name, vectors = file.stem, {key: value for key, value in tensors.items() if key in KEYS.values()}
    if "emb_params" in tensors:
        vectors = {"clip_l": tensors["emb_params"]}
    elif not vectors and len(tensors) == 1:
        name, value = next(iter(tensors.items()))
        vectors = {"clip_l": value}
    vectors = {key: value[None] if value.ndim == 1 else value for key, value in vectors.items()}
    vectors = {key: value.float() if value.element_size() == 1 else value for key, value in vectors.items()}
    sound = all(v.ndim == 2 and 1 <= len(v) <= MOST and v.isfinite().all() for v in vectors.values())
    if not vectors or not sound or len({len(v) for v in vectors.values()}) > 1:
        raise ModelError(
            f"{file} holds {', '.join(list(tensors)[:4]) or 'nothing'}, which is no textual inversion of 1 to {MOST} "
            "finite vectors; give one of A1111 or diffusers"
        )
    return name, vectors


def set_rows(pipe: Any, encoder: str, words: Sequence[str], rows: Tensor) -> None:
    """Give a text encoder of a pipeline the words with their embeddings, rows (n, d)."""
    tokenizer = getattr(pipe, dict(ENCODERS)[encoder])
    ids = add_words(getattr(pipe, encoder), tokenizer, words)
    table = getattr(pipe, encoder).get_input_embeddings().weight
    with torch.no_grad():
        table[ids] = rows.to(table)


def add_words(encoder: Any, tokenizer: Any, names: Sequence[str]) -> list[int]:
    """Teach a tokenizer the words, if it does not know them, and give the encoder rows for them; return their ids."""
    from tokenizers import AddedToken

    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in names if name not in tokenizer.get_vocab()])
    if len(tokenizer) > encoder.get_input_embeddings().weight.shape[0]:
        encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return tokenizer.convert_tokens_to_ids(list(names))


def encoders(pipe: Any) -> list[tuple[str, str]]:
    """Name the text encoders that a pipeline has, each with its tokenizer."""
    return [(encoder, tokenizer) for encoder, tokenizer in ENCODERS if getattr(pipe, encoder, None) is not None]
