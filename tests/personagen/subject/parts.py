"""Tiny real pipelines of the three families that subjects are trained on, and pictures of a subject, for tests."""

import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from personagen.models.build import train_tokenizer
from personagen.pretrain.save import write_tokenizer_files
from personagen.quiet import quiet

FAMILIES = ("sd1", "sd2-v", "sdxl")


@cache
def _tokenizer() -> CLIPTokenizer:
    return train_tokenizer(["a photo of a red dog on a beach", "a photo of a blue bag"], size=700, length=16)


def tokenizer() -> CLIPTokenizer:
    return copy.deepcopy(_tokenizer())


def text_config(words: CLIPTokenizer, *, width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=words.model_max_length,
        projection_dim=24,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )


def vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
    )


def unet(*, context: int, xl: bool = False, linear: bool = False) -> UNet2DConditionModel:
    extra: dict[str, Any] = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 24 + 6 * 4,
    }
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=context,
        attention_head_dim=2,
        use_linear_projection=linear,
        **(extra if xl else {}),
    )


def scheduler(prediction: str) -> DDPMScheduler:
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
        prediction_type=prediction,
        rescale_betas_zero_snr=prediction == "v_prediction",
        timestep_spacing="trailing",
    )


def pipeline(family: str, *, seed: int = 0):
    """Build the pipeline of a family with random weights; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        words = tokenizer()
        if family == "sdxl":
            pipe = StableDiffusionXLPipeline(
                vae=vae(),
                text_encoder=CLIPTextModel(text_config(words, width=16)),
                text_encoder_2=CLIPTextModelWithProjection(text_config(words, width=24)),
                tokenizer=words,
                tokenizer_2=tokenizer(),
                unet=unet(context=40, xl=True, linear=True),
                scheduler=scheduler("epsilon"),
                add_watermarker=False,
            )
        else:
            pipe = StableDiffusionPipeline(
                vae=vae(),
                text_encoder=CLIPTextModel(text_config(words, width=16)),
                tokenizer=words,
                unet=unet(context=16, linear=family == "sd2-v"),
                scheduler=scheduler("v_prediction" if family == "sd2-v" else "epsilon"),
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save(family: str, folder: Path, *, seed: int = 0) -> Path:
    """Write the pipeline of a family in diffusers' layout."""
    pipe = pipeline(family, seed=seed)
    with quiet():
        pipe.save_pretrained(folder)
    for name in ("tokenizer", "tokenizer_2"):
        if (folder / name).is_dir():
            write_tokenizer_files(getattr(pipe, name), folder / name)
    return folder


def paint(pipe, prompt: str = "a photo of a sks dog", *, seed: int = 0, size: tuple[int, int] = (16, 16)) -> np.ndarray:
    """Paint one picture (H, W, 3) in [0, 1], deterministically."""
    made = pipe(
        prompt,
        num_inference_steps=2,
        height=size[0],
        width=size[1],
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
    )
    return made.images[0]


def write_pictures(folder: Path, *, count: int = 4, size: tuple[int, int] = (40, 40), seed: int = 0) -> Path:
    """Write `count` different PNG pictures of `size` (H, W)."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        blocks = generator.integers(0, 255, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
        Image.fromarray(blocks.repeat(8, 0).repeat(8, 1)).save(folder / f"{i:02d}.png")
    return folder
