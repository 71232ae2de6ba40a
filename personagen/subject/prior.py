"""Pictures of the class for prior preservation: what is missing is painted by the base model, before it learns."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from recsys.errors import SEEDS, ConfigError

from ..files import write_whole
from ..provenance import Parameters, read_png, sampling_settings, write_png
from .config import SubjectConfig
from .data import PICTURES, bucket_size
from .examples import multiple_of


def paint_class(pipe: Any, config: SubjectConfig, *, size: tuple[int, int]) -> Iterator[float]:
    """Paint class pictures of `size` (H, W) until the folder holds num_class_images; yield the share that is there.

    Prompts take turns: class_prompt and prior_prompts, the latter in a caption beside the picture. Every picture has
    its own seed and is written whole, so a run that was stopped goes on where it was.

    Raises:
        ConfigError: pictures that were painted before are of another class.
    """
    folder = Path(str(config.class_data_dir))
    folder.mkdir(parents=True, exist_ok=True)
    ours = [folder / f"class-{i:05d}.png" for i in range(config.num_class_images)]
    others = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path not in ours]
    prompts = [str(config.class_prompt), *(config.prior_prompts or [])]
    _check_class(ours, prompts)
    missing = [path for path in ours[: max(0, len(ours) - len(others))] if not path.is_file()]
    batch = max(1, min(4, config.num_class_images))
    for start in range(0, len(missing), batch):
        part = missing[start : start + batch]
        places = [ours.index(path) for path in part]
        seeds = [(config.seed * 100_003 + at) % (SEEDS[1] + 1) for at in places]
        texts = [prompts[at % len(prompts)] for at in places]
        images = pipe(
            texts,
            height=size[0],
            width=size[1],
            num_inference_steps=config.validation_inference_steps,
            guidance_scale=config.guidance_scale,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        ).images
        for path, image, seed, prompt in zip(part, images, seeds, texts):
            if prompt != config.class_prompt:
                write_whole(path.with_suffix(".txt"), lambda file, text=prompt: file.write_text(text + "\n"))
            settings = sampling_settings(steps=config.validation_inference_steps, seed=seed)
            write_png(image, path, parameters=Parameters(prompt, settings=settings))
        yield min(1.0, (start + batch) / len(missing))


def _check_class(ours: list[Path], prompts: list[str]) -> None:
    """Refuse pictures that an earlier run painted from another prompt; every PNG says from which."""
    for path in ours:
        parameters = read_png(path).parameters if path.is_file() else None
        if parameters is not None and parameters.prompt not in prompts:
            raise ConfigError(
                f"{path} was painted from {parameters.prompt!r}, and class_prompt is {prompts[0]!r}; name another "
                "class_data_dir, or remove its pictures"
            )


def class_size(native: tuple[int, int], pipe: Any, config: SubjectConfig) -> tuple[int, int]:
    """Return the size (H, W) that class and validation pictures are painted at: the model's own proportions."""
    if config.resolution is None:
        return native
    multiple = multiple_of(pipe, config.resolution)
    return bucket_size(native, resolution=config.resolution, multiple=multiple)
