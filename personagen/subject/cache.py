"""Latents and embeddings kept on disk between runs: one small file each, named by all that it depends on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..files import write_tensors


@dataclass(frozen=True)
class Cache:
    """Tensors of one encoder in a folder; a file that is damaged counts as absent, and is written again."""

    folder: Path
    encoder: str
    """Fingerprint of what computes the tensors, so that another model never gets them."""

    def get(self, key: str) -> dict[str, Tensor] | None:
        """Return what was kept under a key, or None."""
        try:
            return {name: value.clone() for name, value in load_file(self._path(key)).items()}  # off the file
        except (OSError, SafetensorError):
            return None

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep tensors under a key, whole or not at all.

        Raises:
            ResourceError: the disk refuses.
        """
        write_tensors(self._path(key), tensors)

    def _path(self, key: str) -> Path:
        return self.folder / (hashlib.sha256(f"{self.encoder} {key}".encode()).hexdigest()[:40] + ".safetensors")


def open_cache(folder: str | None, *modules: nn.Module | None) -> Cache | None:
    """Open the cache of what these modules compute together; none without a folder."""
    if folder is None:
        return None
    digest = hashlib.sha256()
    for module in modules:
        for name, value in module.state_dict().items() if module is not None else ():
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return Cache(Path(folder), digest.hexdigest())
