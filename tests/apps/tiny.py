"""Real pipelines with random weights, small enough for tests: diffusers' own classes, nothing mocked."""

from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from personagen.models import build
from personagen.tryon.pipeline import TryOnPipeline

SIZE = (64, 48)


def pipelines(*, seed: int = 0) -> tuple[TryOnPipeline, StableDiffusionPipeline]:
    """Build a try-on and a text-to-image pipeline that share one VAE, for pictures of 64x48."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = build.build_vae(
            block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=4, sample_size=64
        )
        cells = (SIZE[0] // 8, SIZE[1] // 8)
        sizes = {"block_out_channels": (16, 32), "layers_per_block": 1, "head_width": 16, "norm_num_groups": 8}
        words = ["a person wearing a red striped t-shirt and blue trousers on a beach"]
        tokenizer = build.train_tokenizer(words, size=700, length=40)
        text_encoder = build.build_text_encoder(tokenizer, width=32, layers=1, heads=2)
        unet = build.build_unet(in_channels=4, out_channels=4, cross_attention_dim=32, sample_size=cells, **sizes)
        wide = build.build_unet(
            in_channels=9, out_channels=4, cross_attention_dim=32, sample_size=(2 * cells[0], cells[1]), **sizes
        )
    scheduler = build.build_scheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    parts: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "scheduler": scheduler}
    text2image = StableDiffusionPipeline(
        vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, **parts, requires_safety_checker=False
    )
    text2image.set_progress_bar_config(disable=True)
    return TryOnPipeline(vae, wide, scheduler, height=SIZE[0], width=SIZE[1]), text2image
