"""Settings of training try-on on pairs; no heavy import, so that `personagen tryon train --help` is quick."""

from dataclasses import dataclass, field
from typing import Literal

from recsys.errors import ConfigError, check_range

from ..training.config import LoopConfig
from ..tryon.config import BaseConfig


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
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            steps=16000,
            learning_rate=1e-5,
            decay_fraction=0.2,
            evaluate_every=1000,
            preview_every=1000,
            heldout_rows=16,
        )
    )
    """Settings of the training loop; the autoencoder computes in float32 where mixed_precision is fp16."""
    gradient_checkpointing: bool = False
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
