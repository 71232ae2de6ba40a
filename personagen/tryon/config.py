"""Settings of try-on with a Stable Diffusion 1.5 base; no heavy import, so that `--help` is quick."""

from dataclasses import dataclass, field
from typing import Literal

from recsys.errors import ConfigError, check_range


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
    """LoRA of the UNet, a .safetensors file or its folder, laid over all."""
    vae: str | None = None
    """Another autoencoder, folder or hub id; null takes the base's."""
    variant: Literal["corrected", "plain"] = "plain"
    cross_attention: Literal["zero", "identity"] = "identity"
    scheduler: Literal["ddim", "dpm", "unipc"] = "ddim"
    eta: float = 1.0
    height: int = 1024
    width: int = 768
    safety_checker: bool = False
    """Look at results with the base's safety checker."""
    allow_download: bool = False
    """Ask the hub for what is not on this machine."""


@dataclass(frozen=True)
class TryOnTrainConfig:
    """Settings of `personagen tryon train`."""

    output_dir: str = "runs/tryon"
    """Folder for corpus, latents, checkpoints, previews and the result; the same command goes on from it."""
    root: str | None = None
    """Folder of a data set to read pairs from."""
    layout: Literal["viton-hd", "dresscode", "parsed"] = "viton-hd"
    """How `root` is laid out; parsed: the folder that holds `people` with photos, parsing and labels.json."""
    corpora: dict[str, float] = field(default_factory=dict)
    """Corpus folders, such as renders of the atelier, with the weights they are drawn with; `root` has weight 1."""
    model: str = "embedded"
    """Try-on model to start from, where no base is given."""
    base: BaseConfig | None = None
    """Inpainting base to start from."""
    train: Literal["attn1", "lora", "unet"] = "attn1"
    """Self-attention in full, a LoRA on it, or the whole UNet."""
    rank: int = 16
    """Rank of the LoRA."""
    variant: Literal["corrected", "plain"] = "corrected"
    """Loss on the person half beside a clean garment, or on both halves."""
    garment_dropout: float = 0.1
    garment_variants: int = 0
    """Augmented copies (mirror, small affine, erasing) that stand for each garment photo; 0 takes the photo itself."""
    outside_weight: float = 1.0
    """Weight of the error outside the mask, where inside is 1 (corrected only)."""
    height: int = 512
    width: int = 384
    steps: int = 16000
    batch_size: int = 8
    learning_rate: float = 1e-5
    warmup_steps: int = 200
    decay_fraction: float = 0.2
    weight_decay: float = 0.01
    ema_decay: float = 0.999
    gradient_checkpointing: bool = False
    mixed_precision: Literal["no", "fp16", "bf16"] = "bf16"
    """Precision of the UNet's arithmetic; weights stay in float32, and so does the autoencoder under fp16."""
    device: str = "auto"
    seed: int = 0
    evaluate_every: int = 1000
    checkpoint_every: int = 500
    heldout_rows: int = 16
    preview_rows: int = 4
    preview_steps: int = 20
    guidance: float = 2.5

    def __post_init__(self) -> None:
        check_range(
            garment_dropout=(self.garment_dropout, 0, 1), outside_weight=(self.outside_weight, 0, 1),
            garment_variants=(self.garment_variants, 0, 16), rank=(self.rank, 1, 1024), guidance=(self.guidance, 1, 30),
        )  # fmt: skip
        if self.root is None and not self.corpora:
            raise ConfigError("root is null and corpora is empty; give a data set, or corpus folders with weights")
        if self.train == "lora" and self.base is None:
            raise ConfigError("train is lora without a base; give base, or train attn1 or unet")


@dataclass(frozen=True)
class TryOnEvaluateConfig:
    """Settings of `personagen tryon evaluate`."""

    root: str
    """Folder of the data set."""
    layout: Literal["viton-hd", "dresscode"] = "viton-hd"
    paired: bool = True
    """Persons with the garment they wear (compared with the photo), or with another."""
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
    repaint: bool = True
    """Put the photo's own pixels back outside the mask."""
    backbone: str | None = None
    """Folder of an image model in transformers' layout; then FID and KID between results and photos are measured."""
    lpips: str | None = None
    """File of an LPIPS backbone and its linear weights (`metrics.lpips`); then paired results are measured by it."""
    seed: int = 0
    out: str = "tryon-evaluation"
    """Folder for figures.json, cases.csv and sheet.png."""
