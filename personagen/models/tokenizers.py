"""CLIP's tokenizers for single files, which hold weights alone: from a folder, or from the vocabulary as published."""

import gzip
import importlib.util
from pathlib import Path
from typing import Any

from recsys.errors import ModelError

PUBLISHED = "bpe_simple_vocab_16e6.txt.gz"
"""OpenAI's file of merges, which open_clip and others ship."""
MERGES = 49152 - 256 - 2
REMEDY = (
    "name a folder that has one with --tokenizer FOLDER (vocab.json and merges.txt, tokenizer.json, or a folder in "
    f"diffusers' layout; {PUBLISHED} will do), or run: pip install --no-deps open_clip_torch"
)
PADS = {"clip": "<|endoftext|>", "openclip": "!"}
"""With what the two kinds of text encoders were shown the places after a prompt."""


def read_tokenizer(source: str | Path | None, *, kind: str, length: int, rows: int, second: bool = False) -> Any:
    """Return the CLIPTokenizer of a text encoder.

    source: a folder, the published file, or None for an installed open_clip's. kind: a key of PADS. length, rows:
    tokens a prompt and rows of the encoder's table. second: whether it is the second one of SDXL.

    Raises:
        ModelError: there is none, or it does not fit the table.
    """
    place = _installed() if source is None else Path(source)
    if place is None:
        raise ModelError(f"a single file holds no tokenizer; {REMEDY}")
    folder = _folder_of(place, second)
    try:
        tokenizer = _published(place) if folder is None else _from_folder(folder)
    except Exception as error:  # transformers and tokenizers have errors of their own
        raise ModelError(
            f"the tokenizer in {place} cannot be read ({type(error).__name__}: {error}); {REMEDY}"
        ) from error
    if len(tokenizer) > rows:
        raise ModelError(
            f"the tokenizer in {place} has {len(tokenizer)} words and the model {rows}; give the model's own"
        )
    tokenizer.model_max_length = length
    if PADS[kind] in tokenizer.get_vocab():
        tokenizer.pad_token = PADS[kind]
    return tokenizer


def _folder_of(place: Path, second: bool) -> Path | None:
    """Find the folder with the vocabulary; None where the published file itself is given."""
    if place.is_file():
        return None
    for folder in (place / "tokenizer_2", place / "tokenizer", place)[0 if second else 1 :]:
        if (folder / "vocab.json").is_file() or (folder / "tokenizer.json").is_file():
            return folder
    raise ModelError(f"there is no tokenizer in {place}; {REMEDY}")


def _from_folder(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)


def _published(file: Path) -> Any:
    """Build the tokenizer from the published merges: bytes, bytes that end a word, merges, start, end."""
    from transformers import CLIPTokenizer

    opened = gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8")
    with opened as stream:
        lines = stream.read().split("\n")[1 : MERGES + 1]
    merges: Any = [tuple(line.split()) for line in lines if line]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=merges)


def _installed() -> Path | None:
    """Find the vocabulary of an installed open_clip, without importing it."""
    found = importlib.util.find_spec("open_clip")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        if (Path(folder) / PUBLISHED).is_file():
            return Path(folder) / PUBLISHED
    return None
