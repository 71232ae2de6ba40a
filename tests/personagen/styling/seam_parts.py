"""Real pipelines and a real recommender at the smallest size, for tests of the seam."""

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from personagen.atelier.garment import GarmentSpec
from personagen.person.body import Body
from personagen.styling.catalog import AtelierCatalog, attribute_matrix
from personagen.tryon.pipeline import TryOnPipeline
from recsys.models.dreamrec import DreamRec, DreamRecConfig

KINDS = ("t-shirt", "shirt", "trousers", "skirt", "dress")
COLOURS = ("red", "blue", "green", "white")
PATTERNS = ("plain", "striped")
SCENES = ("beach", "snow")


def specs() -> list[GarmentSpec]:
    """40 garments: every kind in every colour and pattern, scenes alternating by colour."""
    return [
        GarmentSpec(kind, colour, pattern, neckline="crew", scene=SCENES[COLOURS.index(colour) % 2])
        for kind in KINDS
        for colour in COLOURS
        for pattern in PATTERNS
    ]


def catalog() -> AtelierCatalog:
    return AtelierCatalog(specs(), size=(64, 48))


def recommender(catalog: AtelierCatalog, *, seed: int = 0) -> DreamRec:
    features = attribute_matrix(catalog).matrix
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = DreamRecConfig(
            n_items=len(catalog),
            d=16,
            items="both",
            n_features=features.shape[1],
            encoder="gru",
            layers=1,
            heads=1,
            max_len=8,
        )
        return DreamRec(config, features=features).eval()


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
    )


def _unet(channels: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=(8, 6),
        in_channels=channels,
        out_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=4,
    )


def _scheduler() -> DDIMScheduler:
    return DDIMScheduler(clip_sample=False, steps_offset=1, prediction_type="v_prediction")


def _tokenizer() -> CLIPTokenizer:
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: at for at, token in enumerate(tokens)}, merges=[], model_max_length=77)


def text2image() -> StableDiffusionPipeline:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        tokenizer = _tokenizer()
        size = len(tokenizer)
        config = CLIPTextConfig(
            vocab_size=size,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            bos_token_id=size - 2,
            eos_token_id=size - 1,
            pad_token_id=size - 1,
        )
        pipeline = StableDiffusionPipeline(
            vae=_vae(),
            text_encoder=CLIPTextModel(config),
            tokenizer=tokenizer,
            unet=_unet(4),
            scheduler=_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tryon() -> TryOnPipeline:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return TryOnPipeline(_vae(), _unet(9), _scheduler(), height=64, width=48)


def upper_mask(kind: str) -> np.ndarray | None:
    """A person of 64x48 who can change what is worn above the waist, and nothing else."""
    if kind not in ("t-shirt", "shirt", "dress"):
        return None
    mask = np.zeros((64, 48), bool)
    mask[16:40, 12:36] = True
    return mask


def body() -> Body:
    """That person: nothing is known of them but `upper_mask`."""
    nothing = np.zeros((64, 48), bool)

    def known(kind: str) -> np.ndarray:
        mask = upper_mask(kind)
        return nothing if mask is None else mask

    return Body(np.zeros((64, 48), np.uint8), known=known)
