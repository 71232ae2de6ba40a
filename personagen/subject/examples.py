"""What need not be computed twice, pictures as latents and prompts as embeddings; and which rows a step sees."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..adapters.embeddings import ENCODERS
from ..images import load_image, to_tensor
from ..training.objective import stratified_timesteps
from .base import Text, encode_prompts, scale_factor
from .cache import Cache, open_cache
from .config import SubjectConfig, rows_a_step
from .data import Picture, bucket_size, cover, read_region
from .identity import identity_region


@dataclass(frozen=True)
class Example:
    """A training picture as the autoencoder sees it: mean and deviation (C, h, w) of the latents, scaled, float32."""

    caption: str
    mean: Tensor
    deviation: Tensor
    mirrored: tuple[Tensor, Tensor] | None
    region: Tensor | None
    """(1, h, w) in [0, 1]: where the subject is."""
    time_ids: Tensor
    """(6,) original size, corner of the cut, size trained at: what SDXL is told of a picture."""


@dataclass(frozen=True)
class Row:
    """One row of a training step, ready to be stacked with others of its size; share: its weight in the loss."""

    x0: Tensor
    noise: Tensor
    t: Tensor
    prompt: str
    share: float
    region: Tensor | None
    time_ids: Tensor
    prior: bool = False
    """Whether it is of the class, not of the subject."""


def multiple_of(pipe: Any, resolution: int) -> int:
    """Return what the sides of training pictures are multiples of: 64 as usual for large ones, less for small ones."""
    return 64 if resolution >= 512 else 2 * scale_factor(pipe)


@torch.no_grad()
def encode_pictures(
    pipe: Any, pictures: Sequence[Picture], config: SubjectConfig, *, resolution: int, caption: str, flip: bool,
    identity_weight: float = 1.0,
) -> Iterator[Example]:  # fmt: skip
    """Yield an Example of each picture; captions that are missing become `caption`.

    Raises:
        DataError: a mask is damaged or of another size.
    """
    factor, multiple = scale_factor(pipe), multiple_of(pipe, resolution)
    cache = open_cache(config.cache_dir, pipe.vae)
    for picture in pictures:
        size = bucket_size(picture.size, resolution=resolution, multiple=multiple, buckets=config.buckets)
        image, corner = cover(load_image(picture.path), size)
        pixels, key = to_tensor(image) * 2 - 1, f"{picture.sha256} {size}"
        mean, deviation = _kept(cache, key, pipe, pixels)
        mirrored = _kept(cache, f"{key} mirrored", pipe, pixels.flip(3)) if flip else None
        region = _region(picture, image, size, identity_weight)
        region = None if region is None else torch.nn.functional.avg_pool2d(region, factor)
        time_ids = torch.tensor([*picture.size, *corner, *size], dtype=torch.float32)
        yield Example(picture.caption or caption, mean, deviation, mirrored, region, time_ids)


def _region(picture: Picture, image: Image.Image, size: tuple[int, int], weight: float) -> Tensor | None:
    """Where the error counts, (1, H, W): as the picture's mask says, and the person's own more; None: everywhere."""
    region = None if picture.mask is None else torch.from_numpy(read_region(picture.mask, size))[None]
    if weight == 1:
        return region
    own = identity_region(image, weight=weight)
    return own if region is None else own * region


def _kept(cache: Cache | None, key: str, pipe: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    if cache is None:
        return _posterior(pipe, pixels)
    if (found := cache.get(key)) is None:
        found = dict(zip(("mean", "deviation"), _posterior(pipe, pixels), strict=True))
        cache.put(key, found)
    return found["mean"], found["deviation"]


def _posterior(pipe: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    vae = pipe.vae
    found = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
    scale, shift = vae.config.scaling_factor, vae.config.shift_factor or 0.0
    return ((found.mean - shift) * scale)[0].float().cpu(), (found.std * scale)[0].float().cpu()


class PromptCache:
    """Embeddings of prompts by text, made once, on the CPU; kept on disk where a folder is given."""

    def __init__(self, folder: str | None = None) -> None:
        self.texts: dict[str, Text] = {}
        self.folder = folder

    @torch.no_grad()
    def fill(self, pipe: Any, prompts: Sequence[str], *, batch: int = 16) -> None:
        """Encode what is not known yet."""
        cache = open_cache(self.folder, *(getattr(pipe, encoder, None) for encoder, _ in ENCODERS))
        if cache is not None:
            kept = {prompt: cache.get(prompt) for prompt in prompts}
            self.texts |= {
                prompt: Text(found["context"], found.get("pooled")) for prompt, found in kept.items() if found
            }
        wanted = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.texts]
        for start in range(0, len(wanted), batch):
            part = wanted[start : start + batch]
            text = encode_prompts(pipe, part).to(torch.device("cpu"))
            self.texts |= {prompt: text.rows([i]) for i, prompt in enumerate(part)}
        if cache is not None:
            for prompt in wanted:
                cache.put(
                    prompt, {name: value for name, value in vars(self.texts[prompt]).items() if value is not None}
                )

    def stack(self, prompts: Sequence[str]) -> Text:
        """Return the embeddings of `prompts`, one row each."""
        rows = [self.texts[prompt] for prompt in prompts]
        pooled = [row.pooled for row in rows if row.pooled is not None]
        return Text(torch.cat([row.context for row in rows]), torch.cat(pooled) if pooled else None)


def draw_rows(
    step: int, examples: Sequence[Example], config: SubjectConfig, *, n_steps: int, share: float, stream: int = 0
) -> list[Row]:
    """Draw the rows of one step; the same step and seed give the same rows, whatever came before.

    Pictures come in a new random order each epoch. share: weight of all rows together. stream: 0 for the subject, 1 for
    the class.
    """
    batch = rows_a_step(config)
    generator = torch.Generator().manual_seed((config.seed * 1_000_003 + step) * 2 + stream)
    times = stratified_timesteps(batch, n_steps=n_steps, generator=generator)
    rows = []
    for place in range(batch):
        example = examples[_index(step * batch + place, len(examples), config, stream)]
        mirror, drop = torch.rand(2, generator=generator).tolist()
        mean, deviation = example.mean, example.deviation
        region = example.region
        if example.mirrored is not None and mirror < 0.5:
            (mean, deviation), region = example.mirrored, None if region is None else region.flip(2)
        x0 = mean + deviation * torch.randn(mean.shape, generator=generator)
        noise = torch.randn(mean.shape, generator=generator)
        if config.noise_offset:
            noise = noise + config.noise_offset * torch.randn((len(mean), 1, 1), generator=generator)
        prompt = "" if drop < config.caption_dropout else example.caption
        rows.append(Row(x0, noise, times[place], prompt, share / batch, region, example.time_ids, stream == 1))
    return rows


def _index(position: int, count: int, config: SubjectConfig, stream: int) -> int:
    """Return which picture stands at a position of the endless sequence of shuffled epochs."""
    epoch, place = divmod(position, count * config.repeats)
    generator = torch.Generator().manual_seed((config.seed * 7919 + epoch) * 2 + stream)
    return int(torch.randperm(count * config.repeats, generator=generator)[place]) % count


def chunks(rows: Sequence[Row], size: int) -> Iterator[list[Row]]:
    """Group rows of one latent size, at most `size` together; regions are filled in where only some have one."""
    groups: dict[tuple[int, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.x0.shape), []).append(row)
    for group in groups.values():
        for start in range(0, len(group), size):
            part = group[start : start + size]
            if any(row.region is not None for row in part):
                ones = torch.ones(1, *part[0].x0.shape[1:])
                part = [row if row.region is not None else replace(row, region=ones) for row in part]
            yield part
