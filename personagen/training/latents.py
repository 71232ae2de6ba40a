"""Encode a corpus once: latents beside the run, made again when the autoencoder or the pictures change."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from recsys.errors import ModelError

from ..corpora.corpus import Corpus, pictures
from ..files import new_array, write_text
from ..warping.drape import drape
from .thin_plate import bend_grid

Prepare = Callable[[Tensor, list[int]], Tensor]
"""Changes pictures (B, 3, H, W) in [-1, 1], given their row numbers, before they are encoded."""


@dataclass(frozen=True)
class Encoder:
    """An autoencoder read from disk, and the fingerprint of its weights."""

    vae: AutoencoderKL
    fingerprint: str
    bf16: bool

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Encode pictures (B, 3, H, W) in [-1, 1] to latents (B, C, h, w) float32: the posterior's mean, scaled."""
        device = next(self.vae.parameters()).device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.bf16):
            mean = self.vae.encode(x.to(device)).latent_dist.mean.float()
        return (mean - (self.vae.config.shift_factor or 0.0)) * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Decode latents (B, C, h, w) to pictures (B, 3, H, W) float32 in [-1, 1]."""
        with torch.autocast(z.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            x = self.vae.decode(z / self.vae.config.scaling_factor + (self.vae.config.shift_factor or 0.0)).sample
        return x.float().clamp(-1, 1)


def load_encoder(folder: str | Path, *, device: torch.device, bf16: bool) -> Encoder:
    """Load a trained autoencoder, frozen, in float32.

    Raises:
        ModelError: the folder holds none.
    """
    weights = Path(folder) / "diffusion_pytorch_model.safetensors"
    if not weights.is_file():
        raise ModelError(
            f"there is no autoencoder in {folder} ({weights.name} is missing); run the vae stage first, "
            "or correct vae_dir"
        )
    vae = AutoencoderKL.from_pretrained(str(folder), dtype=torch.float32, local_files_only=True, use_safetensors=True)
    vae.requires_grad_(False).eval().to(device, memory_format=torch.channels_last)  # a third less time on a CPU
    return Encoder(vae, hashlib.sha256(weights.read_bytes()).hexdigest()[:16], bf16)


def cache_latents(
    encoder: Encoder, corpus: Corpus, name: str, path: Path, *, prepare: Prepare | None = None, batch_size: int = 8
) -> Iterator[float]:
    """Encode every picture of an array ("image", "garment") into `path`, float16 (N, C, h, w); yield the share done.

    Nothing is done when `path` is there and fits the autoencoder and the pictures.

    Raises:
        ResourceError: the disk is full.
    """
    source, stamp, sidecar = corpus.arrays[name], _stamp(encoder, corpus, name), path.with_suffix(".json")
    if path.is_file() and sidecar.is_file() and json.loads(sidecar.read_text()) == stamp:
        return

    def encode(start: int) -> np.ndarray:
        rows = list(range(start, min(start + batch_size, len(source))))
        x = pictures([source[row] for row in rows])
        return encoder.encode(prepare(x, rows) if prepare else x).cpu().numpy()

    first = encode(0)
    with new_array(path, shape=(len(source), *first.shape[1:]), dtype=np.float16) as target:
        for start in range(0, len(source), batch_size):
            target[start : start + batch_size] = encode(start) if start else first
            yield min(start + batch_size, len(source)) / len(source)
    write_text(sidecar, json.dumps(stamp))


def latent_files(
    corpora: list[tuple[Corpus, float]], names: Iterable[str], folder: Path
) -> dict[tuple[int, str], Path]:
    """Name files for the latents of those arrays of `names` that corpora have, by number of corpus and name."""
    return {
        (i, name): folder / f"{i}-{corpus.folder.name}-{name}.npy"
        for i, (corpus, _) in enumerate(corpora)
        for name in names
        if name in corpus.arrays
    }


def _stamp(encoder: Encoder, corpus: Corpus, name: str) -> dict[str, str | int]:
    """Say of what latents were made: they are made again where this differs."""
    file = (corpus.folder / f"{name}.npy").stat()
    return {
        "vae": encoder.fingerprint,
        "source": str(corpus.folder / name),
        "bytes": file.st_size,
        "changed": file.st_mtime_ns,
    }


def paint_over(corpus: Corpus) -> Prepare:
    """Return a step that greys pictures out where the corpus's mask says repaint, as TryOnPipeline does."""

    def prepare(x: Tensor, rows: list[int]) -> Tensor:
        mask = torch.from_numpy(np.stack([corpus.arrays["mask"][row] for row in rows]))[:, None].float()
        return x * (1 - mask)

    return prepare


def drape_over(corpus: Corpus, change: Prepare | None) -> Prepare:
    """Return a step that lays the corpus's garments, changed by `change` first, over the pictures inside the mask."""

    def prepare(x: Tensor, rows: list[int]) -> Tensor:
        garment = pictures([corpus.arrays["garment"][row] for row in rows])
        mask = torch.from_numpy(np.stack([corpus.arrays["mask"][row] for row in rows]))[:, None].float()
        return drape(x, mask, change(garment, rows) if change else garment)

    return prepare


def draped_swapped(encoder: Encoder, corpora: list[tuple[Corpus, float]], rows: list[tuple[int, int]]) -> Tensor:
    """Latents (N, C, h, w) of people, `rows` of (corpus, row), with the next row's garment laid over them."""
    read = lambda name: [corpora[i][0].arrays[name][row] for i, row in rows]
    garment, mask = pictures(read("garment")).roll(1, dims=0), torch.from_numpy(np.stack(read("mask")))[:, None]
    return encoder.encode(drape(pictures(read("image")), mask.float(), garment)).cpu()


def vary(seed: int) -> Prepare:
    """Return a step that changes garment photos a little: mirror (half of them), turn, scale, shift, bend, erase."""

    def prepare(x: Tensor, rows: list[int]) -> Tensor:
        return torch.stack(
            [_vary(picture, torch.Generator().manual_seed(seed * 1_000_003 + row)) for picture, row in zip(x, rows)]
        )

    return prepare


def _vary(picture: Tensor, generator: torch.Generator) -> Tensor:
    u = torch.rand(9, generator=generator) * 2 - 1
    angle, scale = u[0] * 0.15, 1 + u[1] * 0.1
    mirror = 1.0 if u[2] > 0 else -1.0
    height, width = picture.shape[1:]
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        [
            torch.stack([cos * mirror, -sin * height / width, u[3] * 0.08]),
            torch.stack([sin * mirror * width / height, cos, u[4] * 0.08]),
        ]
    )
    grid = F.affine_grid(theta[None], [1, *picture.shape], align_corners=False)
    grid = bend_grid(grid, strength=0.06, generator=generator)
    moved = 1 - F.grid_sample(1 - picture[None], grid, align_corners=False)[0]  # white, 1, comes in from outside
    if u[5] > 0:
        top, left = int((u[6] + 1) / 2 * height * 0.8), int((u[7] + 1) / 2 * width * 0.8)
        moved[:, top : top + int(height * 0.2), left : left + int(width * 0.2)] = 1.0
    return moved
