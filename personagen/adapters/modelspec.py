"""What an adapter file says of itself, for the tools that list adapters: the keys of ModelSpec and of kohya's trainer.

ModelSpec 1.0.1 and kohya's own list ask for five: sai_model_spec, architecture, implementation, title, resolution. A
date is left out, so that the same seed gives the same bytes.
"""

from typing import Any

VERSION = "1.0.1"
IMPLEMENTATION = "diffusers"
"""Whose names the layers have."""


def modelspec(pipe: Any, *, title: str, size: tuple[int, int], trigger: str | None = None) -> dict[str, str]:
    """Describe a LoRA for the base model `pipe`, trained on pictures of size (H, W) pixels."""
    family, version = base_family(pipe)
    described = {
        "sai_model_spec": VERSION,
        "architecture": f"{family}/lora",
        "implementation": IMPLEMENTATION,
        "title": title,
        "resolution": f"{size[1]}x{size[0]}",
        "prediction_type": "v" if _predicts_v(pipe) else "epsilon",
    }
    if trigger:
        described["trigger_phrase"] = trigger
    kohya = {"ss_base_model_version": version, "ss_v2": str("v2" in version)} if version else {}
    return {f"modelspec.{name}": value for name, value in described.items()} | kohya


def base_family(pipe: Any) -> tuple[str, str]:
    """Return a base model's architecture as ModelSpec calls it, and as kohya does ("" where it has no name there).

    Told by the structure, not by the widths, so that a small model of the same structure counts as well.
    """
    unet, ours = pipe.unet.config, ("personagen-v1", "")
    if unet["addition_embed_type"] == "text_time":
        return "stable-diffusion-xl-v1-base", "sdxl_base_v1-0"
    if unet["out_channels"] != 4:
        return ours
    if not unet["use_linear_projection"]:
        return "stable-diffusion-v1", "sd_v1"
    return ("stable-diffusion-v2-768-v", "sd_v2_v") if _predicts_v(pipe) else ("stable-diffusion-v2-512", "sd_v2")


def _predicts_v(pipe: Any) -> bool:
    return pipe.scheduler.config["prediction_type"] == "v_prediction"
