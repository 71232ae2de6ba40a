"""Settings of try-on with a Stable Diffusion 1.5 base; no heavy import, so that `--help` is quick."""

from dataclasses import dataclass
from typing import Literal

from ..devices import ComputeSettings


@dataclass(frozen=True)
class BaseConfig:
    """A try-on model that is put together: what from, and how its weights were trained.

    The defaults are those of the weights published for the concatenation method.
    """

    base: str
    """Inpainting model: a folder in diffusers' layout, a single .safetensors file, or a hub id such as owner/model."""
    attention: str | None = None
    """Self-attention weights in the published layout; null keeps the base's own."""
    lora: str | None = None
    """LoRA of the UNet (diffusers or kohya), a .safetensors file or its folder, laid over all."""
    lora_weight: float = 1.0
    """Strength of the LoRA."""
    vae: str | None = None
    """Another autoencoder: folder, .safetensors file or hub id; null takes the base's."""
    variant: Literal["corrected", "plain"] = "plain"
    cross_attention: Literal["zero", "identity"] = "identity"
    scheduler: Literal["ddim", "dpm", "dpmpp_2m", "euler", "euler_a", "unipc", "lcm"] = "ddim"
    """Sampler the model is put together with; dpm is the older name of dpmpp_2m."""
    eta: float = 1.0
    height: int = 1024
    width: int = 768
    safety_checker: bool = False
    """Look at results with the base's safety checker."""
    allow_download: bool = False
    """Ask the hub for what is not on this machine."""


@dataclass(frozen=True)
class TryOnEvaluateConfig(ComputeSettings):
    """Settings of `personagen tryon evaluate`."""

    root: str
    """Folder of the data set."""
    layout: Literal["viton-hd", "dresscode"] = "viton-hd"
    paired: bool = True
    """People with the garment they wear (compared with the photo), or with another."""
    ids: str | None = None
    """File with lines `person garment` to measure on exactly these pairs; none: the data set's test list."""
    limit: int | None = None
    """Take only the first so many pairs."""
    model: str = "embedded"
    """Try-on model: `embedded`, or a folder in diffusers' layout."""
    base: BaseConfig | None = None
    """Inpainting base and what lies over it, instead of a model."""
    steps: int = 20
    guidance: float = 2.5
    scheduler: str | None = None
    """Sampler: ddim, dpmpp_2m, euler, euler_a, unipc or lcm; none: the model's own."""
    repaint: bool = True
    """Put the photo's own pixels back outside the mask."""
    backbone: str | None = None
    """Folder of an image model in transformers' layout; then FID and KID between results and photos are measured."""
    lpips: str | None = None
    """File of an LPIPS backbone and its linear weights (`metrics.lpips`); then paired results are measured by it."""
    seed: int = 0
    out: str = "tryon-evaluation"
    """Folder for figures.json, cases.csv and sheet.png."""
