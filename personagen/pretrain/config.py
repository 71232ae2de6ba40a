"""Settings of pretraining; no heavy import, so that `personagen pretrain --help` is quick."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from recsys.errors import ConfigError

from ..training.config import LoopConfig

STAGES = ("corpus", "vae", "text", "text2image", "decoder", "tryon", "parser", "joints", "garment", "view")


@dataclass(frozen=True)
class CorpusConfig:
    """The pictures to train on: renders of the atelier, and photos where there are some."""

    rows: int = 6000
    """Training rows to render; a row is a person, a garment they wear, its mask and captions. 0: none of them."""
    heldout_rows: int = 300
    scenes: int = 0
    """Training rows of scenes with nobody in them, a twentieth as many held out: a corpus of its own, `scenes`."""
    views: int = 0
    """Training rows of people's sides beside figures of them, for the stage view; a twentieth as many held out: a
    corpus of its own, `views`."""
    photos: str | None = None
    """Folder with `people` (parsed street photos) and `garments` (photos and garments.csv); null: renders only."""


@dataclass(frozen=True)
class VaeConfig:
    """The autoencoder and its loss."""

    block_out_channels: tuple[int, ...] = (32, 64, 96, 128)
    """Widths from full resolution down; n levels make one latent cell of 2^(n-1) pixels."""
    latent_channels: int = 16
    layers_per_block: int = 1
    norm_num_groups: int = 16
    crop: int = 128
    """Side in pixels of the random crops trained on at first."""
    crop_fraction: float = 0.8
    """Share of the steps trained on crops; the rest sees full pictures."""
    full_batch_size: int = 3
    coarse_weight: float = 2.0
    gradient_weight: float = 0.5
    ssim_weight: float = 0.1
    kl_weight: float = 1e-4
    equivariance: float = 0.25
    """Share of the steps that decode halved latents to the halved picture (EQ-VAE, arXiv 2502.09509)."""
    statistics_rows: int = 1024
    """Pictures whose latents give the scale of the latents at the end."""
    sensitivity_rows: int = 48
    sensitivity_power: float = 0.7
    """0: all directions of the latents weigh alike in the error of a diffusion model; 1: as much as they are seen."""


@dataclass(frozen=True)
class TextConfig:
    """Tokenizer and text encoder."""

    tokenizer_size: int = 2048
    tokenizer_length: int = 48
    width: int = 192
    layers: int = 3
    heads: int = 6
    garment_fraction: float = 0.25
    """Share of garment photos among the pictures drawn from corpora that have them."""


@dataclass(frozen=True)
class Text2ImageConfig:
    """UNet of the text-to-image model, and what it starts from."""

    vae_dir: str = "runs/pretrain/vae/vae"
    text_dir: str = "runs/pretrain/text/text"
    """What the text stage wrote; the text encoder is trained further with the UNet."""
    unet_dir: str | None = None
    """UNet to start from; null starts from random weights with the sizes below."""
    block_out_channels: tuple[int, ...] = (96, 160, 192)
    layers_per_block: int = 1
    head_width: int = 32
    norm_num_groups: int = 32
    caption_dropout: float = 0.1
    garment_fraction: float = 0.3
    """Share of garment photos among the pictures drawn from corpora that have them."""
    prompts: tuple[str, ...] = (
        "a person wearing a red striped t-shirt and blue trousers on a beach",
        "a person wearing a green plain dress in a city at night",
        "a person wearing a yellow jacket and black skirt in the snow",
        "a product photo of a blue checked shirt",
    )
    preview_steps: int = 20
    guidance_scale: float = 4.0


@dataclass(frozen=True)
class DecoderConfig:
    """The decoder of a finished painter, trained on latents that the painter made."""

    painter_dir: str = "runs/pretrain/text2image/embedded"
    """A text-to-image pipeline; its latents, and what was trained on them, stay."""
    made_fraction: float = 0.6
    """Share of latents that the painter noised and denoised; the others are true."""
    highest_noise: float = 0.6
    """Share of the schedule up to which latents are noised."""
    steps: int = 4
    """Steps in which they are denoised."""
    garment_fraction: float = 0.3
    """Weight of a corpus's garments beside its people."""
    perceptual_weight: float = 0.01
    """Of the distance of features (`pretrain.adversary`), whose pull is a hundred times that of L1."""
    adversarial_weight: float = 0.1
    """Of the critic of patches, by its pull at the last layer beside the others."""
    steepness_weight: float = 10.0
    """Of the critic's gradient, which keeps it from being sure."""
    adversarial_after: int = 300
    """Steps in which the critic alone learns to tell."""


@dataclass(frozen=True)
class TryOnConfig:
    """UNet and loss of the try-on model; sizes of its UNet are those of `text2image` where that one is given."""

    vae_dir: str = "runs/pretrain/text2image/embedded/vae"
    unet_dir: str | None = "runs/pretrain/text2image/embedded/unet"
    """Text-to-image UNet to start from; null starts from random weights with the sizes below."""
    block_out_channels: tuple[int, ...] = (96, 160, 192)
    layers_per_block: int = 1
    head_width: int = 32
    norm_num_groups: int = 32
    cross_attention_dim: int = 192
    garment_dropout: float = 0.1
    outside_weight: float = 0.1
    """Weight of the error outside the mask, where inside is 1 (outside is repainted from the photo)."""
    garment_variants: dict[str, int] = field(default_factory=dict)
    """Corpus folder -> augmented copies (flip, small affine, erasing) that stand for each garment photo; 0 where not
    named, which takes the photo itself."""
    prefill: Literal["grey", "garment"] = "garment"
    """What the UNet is shown inside the mask: grey, or the garment laid over it (`personagen.warping.drape`)."""
    preview_rows: int = 6
    preview_steps: int = 20
    guidance_scale: float = 2.0


@dataclass(frozen=True)
class ParserConfig:
    """The parser of body parts, which finds what to repaint."""

    images_root: str | None = None
    """Folder with `people` (parsed street photos), and `garments` where they are trained on too; null: PERSONAGEN_DATA,
    or images/ in it, or the current folder."""
    garments: float = 0.25
    """Share of garment photos; what is garment in them is what `warping.cutout` says, where it can be trusted."""
    pasted: float = 0.0
    """Share of the labelled street photos over which a garment is pasted."""
    unlabelled: float = 0.0
    """Share of street photos without labels, from people/unlabelled; a finished parser says what they show."""
    sure: float = 0.8
    """Probability from which its word counts."""
    renders: float = 0.0
    """Share of the atelier's people, whose parts are exact."""
    render_rows: int = 800
    """Renders to draw them from."""
    backbone: str | None = None
    """Weights of EfficientNet-Lite0 (safetensors) to start from; null: random."""
    blocks: int = 15
    """Of the backbone's sixteen."""
    widths: tuple[int, ...] = (24, 32, 48, 80, 112)
    """Of the feature pyramid, from half resolution down: one for each resolution of the backbone."""
    groups: int = 8
    rarity: float = 0.125
    """A class weighs 1 / its share of the pixels to this power, 0..1; much finds rare classes and loses IoU."""
    dice: float = 1.0
    """Weight of the soft Dice loss, which follows the overlap that is reported, beside the cross-entropy."""
    joints: int = 0
    """Width of the branch that finds joints, which its own stage trains; 0: none."""
    joints_file: str | None = None
    """What `joint_labels.py` wrote about the photos of people (stage joints)."""
    parser_dir: str | None = None
    """A finished parser: what the branch is added to (stage joints), or the teacher (stage parser); null: the embedded
    one."""

    def images(self) -> Path:
        """Return the folder of the photos: the one named, else that of the environment, else the current one."""
        base = Path(os.environ.get("PERSONAGEN_DATA") or ".")
        within = base / "images"
        return Path(self.images_root or (within if within.is_dir() else base))


@dataclass(frozen=True)
class GarmentConfig:
    """The parser of garments' photos; its photos are in the folder that the parser of people names."""

    photos: int = 800
    """Photos of garments that are taken apart, of the first so many in a shuffled order."""
    scenes: int = 5
    """Pictures that are put together for each of them: with its pieces, its floor or its cloth."""
    heldout: int = 200
    """Pictures of the atelier's garments that are measured on, on floors that are not trained on."""
    backbone_dir: str | None = None
    """The finished parser of people whose backbone is gone on with; null: the embedded one."""
    frozen: int = 5
    """Its first blocks that stay as they are: edges and textures are the same on garments, and most of the time."""
    blocks: int = 11
    widths: tuple[int, ...] = (24, 32, 48, 80)
    groups: int = 8


@dataclass(frozen=True)
class ViewConfig:
    """The view completer: a LoRA on a finished try-on network."""

    tryon_dir: str | None = None
    """The try-on pipeline that it is laid over; null: the embedded one."""
    rank: int = 16


@dataclass(frozen=True)
class PretrainConfig:
    """One stage of pretraining: what to train, on what, for how long, and where to put it."""

    stage: Literal["corpus", "vae", "text", "text2image", "decoder", "tryon", "parser", "joints", "garment",
                   "view"] = "vae"  # fmt: skip
    output_dir: str = "runs/pretrain/vae"
    start_from: str | None = None
    """Folder of a finished model (`vae`, `unet`) whose weights a new run starts with."""
    corpora: dict[str, float] = field(default_factory=dict)
    """Corpus folder -> weight with which its pictures are drawn."""
    height: int = 256
    width: int = 192
    loop: LoopConfig = field(default_factory=LoopConfig)
    """Settings of the training loop."""
    timestep_shift: float = 1.0
    """Above 1, training sees more of the high noise levels, where words decide (text2image and tryon)."""
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = "v_prediction"
    weighting: Literal["uniform", "min_snr", "clamped"] = "clamped"
    snr_gamma: float = 5.0
    rescale_betas_zero_snr: bool = True
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    vae: VaeConfig = field(default_factory=VaeConfig)
    text: TextConfig = field(default_factory=TextConfig)
    text2image: Text2ImageConfig = field(default_factory=Text2ImageConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    tryon: TryOnConfig = field(default_factory=TryOnConfig)
    parser: ParserConfig = field(default_factory=ParserConfig)
    garment: GarmentConfig = field(default_factory=GarmentConfig)
    view: ViewConfig = field(default_factory=ViewConfig)


def check_config(config: PretrainConfig) -> None:
    """Refuse settings that cannot work.

    Raises:
        ConfigError: one cannot; it names value and range.
    """
    if config.stage not in STAGES:
        raise ConfigError(f"stage {config.stage!r} is unknown; use one of {STAGES}")
    if config.stage == "corpus":
        return
    if config.stage not in ("parser", "joints", "garment"):
        _check_corpora(config)
    else:
        _check_parser(config.parser)
    shares = {
        "parser.rarity": config.parser.rarity,
        "parser.garments": config.parser.garments,
        "vae.crop_fraction": config.vae.crop_fraction,
        "vae.equivariance": config.vae.equivariance,
        "text.garment_fraction": config.text.garment_fraction,
        "text2image.caption_dropout": config.text2image.caption_dropout,
        "text2image.garment_fraction": config.text2image.garment_fraction,
        "decoder.made_fraction": config.decoder.made_fraction,
        "decoder.highest_noise": config.decoder.highest_noise,
        "tryon.garment_dropout": config.tryon.garment_dropout,
        "tryon.outside_weight": config.tryon.outside_weight,
    }
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"{name} is {value}; it must lie in 0..1")
    if not config.timestep_shift > 0:
        raise ConfigError(f"timestep_shift is {config.timestep_shift}; it must be above 0, and 1 for no shift")
    if config.prediction_type == "epsilon" and config.rescale_betas_zero_snr:
        raise ConfigError(
            "prediction_type epsilon cannot be combined with rescale_betas_zero_snr: at zero SNR the noise "
            "says nothing about the picture. Use v_prediction, or set rescale_betas_zero_snr to false"
        )


def _check_parser(parser: ParserConfig) -> None:
    if not 1 <= parser.blocks <= 16:
        raise ConfigError(f"parser.blocks {parser.blocks} must lie in 1..16, the blocks of EfficientNet-Lite0")
    if any(width % parser.groups for width in parser.widths):
        raise ConfigError(f"parser.widths {parser.widths} must be multiples of parser.groups {parser.groups}")
    if parser.joints < 0 or parser.joints % parser.groups:
        raise ConfigError(f"parser.joints {parser.joints} must be 0 or a multiple of parser.groups {parser.groups}")


def _check_corpora(config: PretrainConfig) -> None:
    if not config.corpora:
        raise ConfigError("corpora is empty; name at least one corpus folder with its weight, e.g. {runs/corpus: 1}")
    if min(config.corpora.values()) < 0 or not any(config.corpora.values()):
        raise ConfigError(f"corpora weights {config.corpora} must be 0 or more, and one above 0")
