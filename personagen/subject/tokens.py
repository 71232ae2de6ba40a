"""New words for a subject: learnt embeddings, kept apart from the model's own, saved and loaded as one small file.

Textual inversion: Gal et al., arXiv 2208.01618; together with an adapter it is pivotal tuning. The file holds (n, d)
vectors `clip_l`, and for SDXL's second encoder `clip_g`, as diffusers' and the web UIs' readers expect.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from recsys.errors import ModelError, shown

from ..adapters.embeddings import KEYS, add_words, encoders, set_rows
from ..files import write_tensors

FILE = "learned_embeds.safetensors"


class NewTokens(nn.Module):
    """Trainable rows (n, d) in float32 for each text encoder, shown to it wherever one of the new words stands."""

    def __init__(self, pipe: Any, names: Sequence[str], *, like: str, seed: int = 0) -> None:
        super().__init__()
        self.names, self.hooks = list(names), []
        self.vectors = nn.ParameterDict()
        generator = torch.Generator().manual_seed(seed)
        for encoder, tokenizer in encoders(pipe):
            ids = add_words(getattr(pipe, encoder), getattr(pipe, tokenizer), self.names)
            table = getattr(pipe, encoder).get_input_embeddings()
            words = getattr(pipe, tokenizer)(like, add_special_tokens=False).input_ids
            start = table.weight.detach()[words].float().mean(0).cpu()
            noise = 0.1 * table.weight.detach().float().std().cpu()
            rows = start + noise * torch.randn(len(ids), len(start), generator=generator)
            self.vectors[encoder] = nn.Parameter(rows)
            self.hooks.append(table.register_forward_hook(self._hook(encoder, ids)))

    def _hook(self, encoder: str, ids: list[int]) -> Any:
        def replace(module: nn.Module, arguments: tuple, output: Tensor) -> Tensor:
            tokens, vectors = arguments[0], self.vectors[encoder].to(output)
            for i, token in enumerate(ids):
                output = torch.where((tokens == token)[..., None], vectors[i], output)
            return output

        return replace

    def save(self, path: Path) -> Path:
        """Write the vectors.

        Raises:
            ResourceError: the disk refuses.
        """
        return write_tensors(path, {KEYS[encoder]: vector for encoder, vector in self.vectors.items()})


def load_tokens(pipe: Any, path: str | Path, names: Sequence[str]) -> None:
    """Put saved vectors into a pipeline as the words `names`.

    Raises:
        ModelError: they do not fit.
    """
    try:
        vectors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read as embeddings ({shown(error, most=200)}); save them again") from error
    for encoder, _ in encoders(pipe):
        rows, width = vectors.get(KEYS[encoder]), getattr(pipe, encoder).get_input_embeddings().weight.shape[1]
        if rows is None or rows.shape != (len(names), width) or not rows.isfinite().all():
            found = None if rows is None else tuple(rows.shape)
            raise ModelError(f"{path} holds {KEYS[encoder]} of {found}, finite values of {(len(names), width)} are "
                             "needed; use the base model and the words it was trained with")  # fmt: skip
        set_rows(pipe, encoder, names, rows)
