"""`personagen tryon wear`: one garment on one person."""

from pathlib import Path

import torch

from personagen.images import load_image
from personagen.masks import mask_from_file
from personagen.models import load_tryon
from personagen.provenance import Parameters, versions, write_png
from recsys.errors import ConfigError, check_range

from .config import WearConfig


def run(settings: WearConfig) -> int:
    """Write the person's photo with the garment on to `settings.out`, with its settings in the PNG. Returns 0.

    Raises: ConfigError, DataError for pictures and masks, ModelError.
    """
    check_range(
        steps=(settings.steps, 1, 1000), guidance=(settings.guidance, 1, 30), seed=(settings.seed, 0, 2**63 - 1)
    )
    out = Path(settings.out)
    if out.suffix.lower() != ".png" or out.is_dir():
        raise ConfigError(f"out is {out}; name a file that ends in .png")
    person, garment = load_image(settings.person), load_image(settings.garment)
    mask = mask_from_file(settings.mask, size=(person.height, person.width))
    pipeline = load_tryon(settings.model)
    image = pipeline(
        person,
        garment,
        mask,
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance,
        generator=torch.Generator().manual_seed(settings.seed),
    ).images[0]
    told = {"Steps": str(settings.steps), "CFG scale": f"{settings.guidance:g}", "Seed": str(settings.seed),
            "Size": f"{image.width}x{image.height}", "Model": Path(settings.model).name}  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    record = {"kind": "tryon", "garment": Path(settings.garment).name, "seed": settings.seed, "versions": versions()}
    write_png(image, out, parameters=Parameters("a person wearing a garment", settings=told), record=record)
    print(f"wrote {out}")
    return 0
