"""Write finished models in float16, in diffusers' layout, so that others can read them."""

import copy
import json
from pathlib import Path
from typing import TypeVar

from torch import nn
from transformers import CLIPTokenizer

Module = TypeVar("Module", bound=nn.Module)


def half_copy(module: Module) -> Module:
    """Return a copy in float16; the module itself stays as it is."""
    return copy.deepcopy(module).half()


def at_rest(tokenizer: CLIPTokenizer) -> CLIPTokenizer:
    """Let a tokenizer forget how it was last called, which its file would tell: a run that goes on writes the same."""
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    return tokenizer


def write_tokenizer_files(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write vocab.json and merges.txt, which older tools read, beside tokenizer.json."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")


def forget_paths(folder: Path) -> None:
    """Take out of saved configurations where on this machine their parts were read from."""
    for file in folder.rglob("config.json"):
        config = json.loads(file.read_text(encoding="utf-8"))
        if config.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
