"""Build the embedded models' components from sizes: real diffusers and transformers classes, small."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from recsys.errors import ConfigError

RARE_WORDS = ("sks", "tok")  # "TOK" is lower-cased; one token each, never in a caption
NEW_TOKENS = ("<s0>", "<s1>")
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def build_vae(
    *,
    block_out_channels: Sequence[int],
    latent_channels: int,
    layers_per_block: int,
    norm_num_groups: int,
    sample_size: int,
) -> AutoencoderKL:
    """Build an autoencoder without attention, so that crops and full pictures of any size are treated alike.

    n widths give latents of 1/2^(n-1) the size. Both 1x1 convolutions around the latents are there: `transform_latents`
    writes into them.

    Raises:
        ConfigError: a width is no multiple of norm_num_groups.
    """
    _check_groups(block_out_channels, norm_num_groups)
    levels = len(block_out_channels)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=latent_channels,
        block_out_channels=tuple(block_out_channels),
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=layers_per_block,
        norm_num_groups=norm_num_groups,
        sample_size=sample_size,
        scaling_factor=1.0,
        force_upcast=False,
        mid_block_add_attention=False,
    )


@torch.no_grad()
def transform_latents(vae: AutoencoderKL, *, mean: Tensor, matrix: Tensor) -> None:
    """Change the latents to matrix (z - mean), and the decoder so that decoded pictures stay the same.

    mean (C,), matrix (C, C), invertible. Written into the 1x1 convolutions around the latents: scaling_factor stays 1
    and shift_factor unset, because StableDiffusionPipeline applies only the former, and one for all channels. The
    posterior's log-variances become geometric means, which is exact for a diagonal matrix.
    """
    encode, decode, c = vae.quant_conv, vae.post_quant_conv, len(mean)
    decode.bias += decode.weight[:, :, 0, 0] @ mean
    decode.weight[:, :, 0, 0] = decode.weight[:, :, 0, 0] @ torch.linalg.inv(matrix)
    encode.bias[:c] = matrix @ (encode.bias[:c] - mean)
    encode.weight[:c, :, 0, 0] = matrix @ encode.weight[:c, :, 0, 0]
    power = matrix.square().sum(1, keepdim=True)
    share = matrix.square() / power
    encode.weight[c:, :, 0, 0] = share @ encode.weight[c:, :, 0, 0]
    encode.bias[c:] = share @ encode.bias[c:] + power[:, 0].log()


@torch.no_grad()
def decoder_sensitivity(vae: AutoencoderKL, z: Tensor, *, size: float = 0.3, seed: int = 0) -> Tensor:
    """Measure G (C, C): a small change dz of a latent cell changes the decoded pixels by dz G dz in sum of squares.

    z (B, C, h, w); finite differences of `size` with random signs over the cells, a channel at a time.
    """
    signs = torch.randint(0, 2, (len(z), 1, *z.shape[2:]), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    decode = lambda z: torch.cat([vae.decode(part).sample.float() for part in z.split(8)])
    base, changes = decode(z), []
    for channel in range(z.shape[1]):
        moved = z.clone()
        moved[:, channel : channel + 1] += size * signs.to(z)
        changes.append(((decode(moved) - base) / size).flatten())
    return torch.stack([torch.stack([a @ b for b in changes]) for a in changes]) / signs.numel()


def latent_scale(covariance: Tensor, sensitivity: Tensor, *, power: float) -> Tensor:
    """Choose the matrix (C, C) that makes latents of mean variance 1 whose errors count as they are seen.

    covariance, sensitivity (C, C). power 0 leaves all directions as they are (up to one factor); power 1 makes squared
    distances of latents those of pixels. Between: sensitivity^(power/2), scaled.
    """
    values, vectors = torch.linalg.eigh(sensitivity.double())
    matrix = vectors @ torch.diag(values.clamp(min=values.max() * 1e-6) ** (power / 2)) @ vectors.T
    total = (matrix @ covariance.double() @ matrix.T).trace() / len(matrix)
    return (matrix / total.sqrt()).to(covariance)


def train_tokenizer(captions: Iterable[str], *, size: int, length: int) -> CLIPTokenizer:
    """Train a byte-level BPE on captions and return it as a CLIPTokenizer of at most `size` tokens, `length` a prompt.

    Beside the words of the captions it knows sks, TOK, <s0> and <s1> as single tokens, for subjects to come. Start
    and end are the last two ids; the end also pads.

    Raises:
        ConfigError: size is too small for the bytes and these.
    """
    if size < 600 or length < 8:
        raise ConfigError(f"a tokenizer of {size} tokens and prompts of {length} is too small; use at least 600 and 8")
    bpe = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    reference = CLIPTokenizer().backend_tokenizer  # its normaliser and split are those of CLIP
    bpe.normalizer, bpe.pre_tokenizer = reference.normalizer, reference.pre_tokenizer
    spare = 2 * len(RARE_WORDS) + len(NEW_TOKENS) + 2
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        captions,
        trainers.BpeTrainer(
            vocab_size=size - spare - len(alphabet),
            initial_alphabet=alphabet,
            end_of_word_suffix=WORD_END,
            show_progress=False,
        ),
    )
    merges: Any = [tuple(merge) for merge in _merges(bpe)]
    words = sorted(alphabet) + [letter + WORD_END for letter in sorted(alphabet)]
    words += [left + right for left, right in merges]
    for word in RARE_WORDS:
        left, middle, right = word[0], word[1], word[2] + WORD_END
        merges += [(left, middle), (left + middle, right)]
        words += [left + middle, left + middle + right]
    vocabulary = list(dict.fromkeys([*words, *NEW_TOKENS, BOS, EOS]))
    merges = list(dict.fromkeys(merges))
    tokenizer = CLIPTokenizer(
        vocab={word: i for i, word in enumerate(vocabulary)}, merges=merges, model_max_length=length
    )
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in NEW_TOKENS])
    return tokenizer


def _merges(bpe: Tokenizer) -> list:
    import json

    merges = json.loads(bpe.to_str())["model"]["merges"]
    return [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]


def build_text_encoder(tokenizer: CLIPTokenizer, *, width: int, layers: int, heads: int) -> CLIPTextModel:
    """Build CLIP's text transformer over `tokenizer`.

    Raises:
        ConfigError: width is no multiple of heads.
    """
    if width % heads:
        raise ConfigError(f"text_width {width} must be a multiple of text_heads {heads}")
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=tokenizer.model_max_length,
            projection_dim=width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_unet(
    *,
    in_channels: int,
    out_channels: int,
    block_out_channels: Sequence[int],
    layers_per_block: int,
    head_width: int,
    norm_num_groups: int,
    cross_attention_dim: int,
    sample_size: tuple[int, int],
) -> UNet2DConditionModel:
    """Build a UNet with attention (self and cross) on every level but the first, heads of `head_width` channels.

    sample_size: (h, w) of the latents.

    Raises:
        ConfigError: a width is no multiple of norm_num_groups or head_width.
    """
    _check_groups(block_out_channels, norm_num_groups)
    _check_groups(block_out_channels[1:], head_width)
    levels = len(block_out_channels)
    if levels < 2:
        raise ConfigError(f"block_out_channels {tuple(block_out_channels)} must name at least 2 levels")
    return UNet2DConditionModel(
        sample_size=tuple(sample_size),
        in_channels=in_channels,
        out_channels=out_channels,
        block_out_channels=tuple(block_out_channels),
        layers_per_block=layers_per_block,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (levels - 1),
        up_block_types=("CrossAttnUpBlock2D",) * (levels - 1) + ("UpBlock2D",),
        cross_attention_dim=cross_attention_dim,
        norm_num_groups=norm_num_groups,
        attention_head_dim=tuple(
            max(1, width // head_width) for width in block_out_channels
        ),  # diffusers: number of heads
    )


@torch.no_grad()
def start_silent(unet: UNet2DConditionModel) -> None:
    """Zero the last layer of every residual branch and of the UNet, so that it starts as the identity and predicts 0.

    The usual start of diffusion UNets (Dhariwal & Nichol, arXiv 2105.05233); diffusers leaves it out.
    """
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "proj_out")) or name == "conv_out":
            for parameter in module.parameters():
                parameter.zero_()


def widen_for_tryon(source: UNet2DConditionModel, *, sample_size: tuple[int, int]) -> UNet2DConditionModel:
    """Make a try-on UNet, C -> 2C+1 inputs, from a text-to-image UNet: the new inputs start at zero weight.

    Cross-attention, which try-on does not use, is set to zero and frozen. Returns a new UNet in float32.
    """
    channels = source.config.in_channels
    unet = UNet2DConditionModel.from_config(
        {**source.config, "in_channels": 2 * channels + 1, "sample_size": tuple(sample_size)}
    )
    weights = {key: value.float() for key, value in source.state_dict().items()}
    conv = weights["conv_in.weight"]
    weights["conv_in.weight"] = torch.cat([conv, torch.zeros(conv.shape[0], channels + 1, *conv.shape[2:])], dim=1)
    unet.load_state_dict(weights)
    silence_cross_attention(unet)
    return unet


@torch.no_grad()
def silence_cross_attention(unet: nn.Module) -> None:
    """Set the weights of every `attn2` to zero and freeze them; with the processor "zero" they are never used."""
    for name, parameter in unet.named_parameters():
        if ".attn2." in name or ".norm2." in name and ".transformer_blocks." in name:
            parameter.zero_()
            parameter.requires_grad_(False)


def build_scheduler(*, prediction_type: str, rescale_betas_zero_snr: bool) -> DDIMScheduler:
    """Build Stable Diffusion 1.5's noise schedule; with zero terminal SNR the last step is pure noise.

    Unscaled, the schedule ends at abar = .0047: 7 % of the latents' amplitude is left, which gives away the mean
    colour.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
        prediction_type=prediction_type,
        timestep_spacing="trailing",
        rescale_betas_zero_snr=rescale_betas_zero_snr,
    )


def _check_groups(widths: Sequence[int], group: int) -> None:
    for width in widths:
        if width % group:
            raise ConfigError(f"width {width} of block_out_channels {tuple(widths)} must be a multiple of {group}")
