"""Pictures to look at while a subject is learnt, from the same seeds; the loss curve; and how far others drift."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from recsys.errors import SEEDS

from ..files import write_whole
from ..images import to_tensor
from ..provenance import Parameters, sampling_settings, versions, write_png
from ..schedulers import sampler_of
from ..training.preview import write_grid
from .base import encode_prompts, native_size, predict, scale_factor, without_adapter
from .config import SubjectConfig
from .train import DTYPES, Learner

UNRELATED = ("a person wearing a blue dress on a beach", "a product photo of a green shirt", "a street at night",
             "a bowl of fruit", "a mountain in the snow", "a portrait of an old man")  # fmt: skip


@contextmanager
def at_rest(learner: Learner) -> Iterator[None]:
    """Hold averaged weights, if there are any, evaluation mode, and the whole pipeline on the device inside.

    Training goes on unchanged afterwards.
    """
    learner.train_mode(False)
    learner.pipe.to(learner.device)
    try:
        with learner.weights.averaged():
            yield
    finally:
        learner.park()
        learner.train_mode()


@torch.no_grad()
def paint(
    pipe: Any, prompt: str, seeds: Sequence[int], config: SubjectConfig, *, size: tuple[int, int], steps: int
) -> np.ndarray:
    """Paint one picture a seed; return (N, H, W, 3) in [0, 1]. A picture does not depend on the others."""
    half = DTYPES[config.mixed_precision]
    pictures = []
    for seed in seeds:
        with torch.autocast(pipe.device.type, dtype=half, enabled=pipe.unet.dtype != torch.float32):
            pictures.append(
                pipe(
                    prompt,
                    height=size[0],
                    width=size[1],
                    num_inference_steps=steps,
                    guidance_scale=config.guidance_scale,
                    generator=torch.Generator().manual_seed(seed),
                    output_type="np",
                ).images[0]
            )
    return np.stack(pictures)


def validate(learner: Learner, *, size: tuple[int, int]) -> dict[str, float]:
    """Paint the validation prompt, with the base model's pictures above, into samples/; return what was measured."""
    config, folder = learner.config, learner.folder / "samples"
    metrics: dict[str, float] = {}
    with at_rest(learner):
        if config.train_unet == "lora" or config.train_text_encoder:
            metrics["drift"] = drift(learner.pipe)
            learner.drift.append((learner.step, metrics["drift"]))
        if config.num_validation_images:
            now, before = _both(learner, size)
            folder.mkdir(parents=True, exist_ok=True)
            sampler = sampler_of(learner.pipe)
            _write_samples(now, folder / f"step-{learner.step:06d}", config, step=learner.step, sampler=sampler)
            rows = [to_tensor(_bytes(pictures)) * 2 - 1 for pictures in (before, now) if pictures is not None]
            write_grid(rows, folder / f"step-{learner.step:06d}.png")
    write_curve(learner.losses, learner.folder / "loss.png", label="loss")
    if len(learner.drift) > 1:
        write_curve([value for _, value in learner.drift], learner.folder / "drift.png", label="drift")
    return metrics


def _both(learner: Learner, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
    config = learner.config
    seeds = [_seed(config, i) for i in range(config.num_validation_images)]
    arguments = (learner.pipe, str(config.validation_prompt), seeds, config)
    now = paint(*arguments, size=size, steps=config.validation_inference_steps)
    if not learner.pipe.get_list_adapters():
        return now, None
    with without_adapter(learner.pipe):
        return now, paint(*arguments, size=size, steps=config.validation_inference_steps)


def _write_samples(pictures: np.ndarray, folder: Path, config: SubjectConfig, *, step: int, sampler: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(_bytes(pictures)):
        settings = sampling_settings(
            steps=config.validation_inference_steps,
            sampler=sampler,
            guidance=config.guidance_scale,
            seed=_seed(config, i),
            size=(picture.shape[0], picture.shape[1]),
        )
        record = {"kind": "subject", "step": step, "versions": versions()}
        parameters = Parameters(str(config.validation_prompt), settings=settings)
        write_png(Image.fromarray(picture), folder / f"{i}.png", parameters=parameters, record=record)


def _seed(config: SubjectConfig, place: int) -> int:
    return (config.seed + place) % (SEEDS[1] + 1)


def _bytes(pictures: np.ndarray) -> np.ndarray:
    return (pictures * 255).round().astype(np.uint8)


@torch.no_grad()
def drift(pipe: Any, prompts: Sequence[str] = UNRELATED) -> float:
    """Measure how far an adapter changes what the model says of other things: mean |f - f0|² / |f0|², 0 for none.

    f, f0: the UNet's output with the adapter and without it, for `prompts`, the same noise, at two high noise levels.
    """
    height, width = (side // scale_factor(pipe) for side in native_size(pipe))
    device, dtype = pipe.unet.device, pipe.unet.dtype
    shape = (len(prompts), pipe.unet.config.in_channels, height, width)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    times = [int(share * pipe.scheduler.config.num_train_timesteps) for share in (0.95, 0.8)]
    size = torch.tensor([[*native_size(pipe), 0, 0, *native_size(pipe)]], dtype=torch.float32, device=device)

    def outputs() -> Tensor:
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            text, rows = encode_prompts(pipe, prompts), size.expand(len(prompts), 6)
            found = [
                predict(pipe.unet, noise, torch.full((len(prompts),), t, device=device), text, rows) for t in times
            ]
        return torch.cat(found).float()

    changed = outputs()
    with without_adapter(pipe):
        plain = outputs()
    return float(((changed - plain).square().mean() / plain.square().mean()).cpu())


def write_curve(values: Sequence[float], path: Path, *, label: str, size: tuple[int, int] = (320, 640)) -> None:
    """Draw values, smoothed over a twentieth of them, over their number, as PNG of `size` (H, W)."""
    finite = np.array([value for value in values if np.isfinite(value)], dtype=float)
    if len(finite) == 0:
        return
    width = max(1, len(finite) // 20)
    smooth = np.convolve(finite, np.ones(width) / width, mode="valid")
    low, high = float(smooth.min()), float(smooth.max())
    picture = Image.new("RGB", (size[1], size[0]), "white")
    pen, margin = ImageDraw.Draw(picture), 40
    across = np.linspace(margin, size[1] - margin, len(smooth))
    up = size[0] - margin - (smooth - low) / max(high - low, 1e-12) * (size[0] - 2 * margin)
    pen.line([(margin, margin), (margin, size[0] - margin), (size[1] - margin, size[0] - margin)], fill="#999999")
    pen.line(list(zip(across.tolist(), up.tolist())), fill="#b5532c", width=2)
    said = f"{label}: {low:.4g} to {high:.4g}, last {finite[-1]:.4g}, {len(finite)} steps"
    pen.text((margin, 12), said, fill="#23211f", font_size=max(11, size[1] // 30))
    write_whole(path, lambda temporary: picture.save(temporary, format="PNG"))
