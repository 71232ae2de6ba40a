"""Write finished models quietly, in float16, in diffusers' layout."""

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


def write_tokenizer_files(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write vocab.json and merges.txt, which older tools read, beside tokenizer.json."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
