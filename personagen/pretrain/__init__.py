"""Make corpora and train the embedded models on them: autoencoder, text encoder, text-to-image, try-on, parser."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..corpora.leftout import Tell, silent
from .config import (
    CorpusConfig,
    DecoderConfig,
    GarmentConfig,
    ParserConfig,
    PretrainConfig,
    Text2ImageConfig,
    TextConfig,
    TryOnConfig,
    VaeConfig,
    ViewConfig,
    check_config,
)

if TYPE_CHECKING:
    from recsys.types import Step

__all__ = [
    "CorpusConfig",
    "DecoderConfig",
    "GarmentConfig",
    "ParserConfig",
    "PretrainConfig",
    "Text2ImageConfig",
    "TextConfig",
    "TryOnConfig",
    "VaeConfig",
    "ViewConfig",
    "pretrain",
]


def pretrain(config: PretrainConfig, *, tell: Tell = silent) -> "Iterator[Step]":
    """Run one stage, yielding a Step after each training step; stop whenever you like, call again to go on exactly
    there.

    Checkpoints are written to `output_dir/checkpoints`, at intervals and when the iterator is closed; the finished
    model to `output_dir/vae`, `output_dir/text`, `output_dir/embedded` (a StableDiffusionPipeline), `output_dir/tryon`,
    `output_dir/parser` or `output_dir/garment`; pictures to look at to `output_dir/previews`. A run that is stopped and
    called again with the same settings ends with the same weights, bit by bit. While latents or photos are cached,
    before the first step, a Step 0 with metrics {"cached": share} is yielded. tell: takes a line about photos that
    cannot be read.

    Raises:
        ConfigError: settings cannot work.
        DataError: a corpus is missing or damaged.
        ModelError: weights are missing or do not fit.
        ResourceError: steps stay non-finite, or the disk is full.
    """
    check_config(config)
    if config.stage == "corpus":
        from .render import render_corpora

        return render_corpora(config, tell=tell)
    from ..training.precision import with_precision

    config = with_precision(config)
    if config.stage == "parser":
        from .parser import train_parser

        return train_parser(config, tell=tell)
    if config.stage == "joints":
        from .joints import train_joints

        return train_joints(config, tell=tell)
    if config.stage == "garment":
        from .garment import train_garment

        return train_garment(config, tell=tell)
    if config.stage == "vae":
        from .vae import train_vae as train
    elif config.stage == "text":
        from .text import train_text as train
    elif config.stage == "text2image":
        from .text2image import train_text2image as train
    elif config.stage == "decoder":
        from .decoder import train_decoder as train
    elif config.stage == "view":
        from .view import train_view as train
    else:
        from .tryon import train_tryon as train
    return train(config)
