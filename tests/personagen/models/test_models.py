"""The embedded components: tokenizer, latents, noise, the widened UNet, and what the loader says."""

import types
from typing import Any

import pytest
import torch

from personagen.embedded import missing_files
from personagen.models import load_text2image, load_tryon
from personagen.models.build import (
    build_scheduler,
    build_text_encoder,
    build_unet,
    build_vae,
    decoder_sensitivity,
    latent_scale,
    train_tokenizer,
    transform_latents,
    widen_for_tryon,
)
from personagen.tryon.attention import set_cross_attention
from personagen.tryon.pipeline import unet_input
from recsys.errors import ConfigError, ModelError

CAPTIONS = ["a person wearing a red striped t-shirt on a beach", "a product photo of a blue skirt"] * 3


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(CAPTIONS, size=900, length=24)


def small_unet(**changes):
    sizes: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "block_out_channels": (16, 32), "layers_per_block": 1,
             "head_width": 16,
             "norm_num_groups": 8, "cross_attention_dim": 32, "sample_size": (8, 6)}  # fmt: skip
    return build_unet(**{**sizes, **changes})


def test_words_of_captions_and_rare_tokens_are_single_tokens(tokenizer):
    words = ["a", "person", "wearing", "red", "striped", "beach", "sks", "TOK", "<s0>", "<s1>"]
    ids = [tokenizer(word).input_ids[1:-1] for word in words]
    assert all(len(one) == 1 for one in ids) and len({one[0] for one in ids}) == len(words)
    assert len(tokenizer("a photo of <s0><s1> person").input_ids) == 2 + 6
    assert (
        tokenizer("zebra crossing").input_ids.count(tokenizer.unk_token_id) == 1
    )  # any word is spelt; 1 = the end itself


def test_start_and_end_are_the_last_two_ids(tokenizer):
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (len(tokenizer) - 2, len(tokenizer) - 1)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id and tokenizer.model_max_length == 24
    assert tokenizer.decode(tokenizer("a red skirt").input_ids, skip_special_tokens=True) == "a red skirt"


def test_a_saved_tokenizer_reads_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    text = "a person with sks TOK <s0> <s1>, unseen"
    assert again(text).input_ids == tokenizer(text).input_ids and len(again) == len(tokenizer)


def test_text_encoder_pools_at_the_end_and_padding_changes_nothing_before_it(tokenizer):
    torch.manual_seed(0)
    encoder = build_text_encoder(tokenizer, width=32, layers=1, heads=2).eval()
    padded = tokenizer("a red skirt", padding="max_length", return_tensors="pt").input_ids
    short = tokenizer("a red skirt", return_tensors="pt").input_ids
    with torch.no_grad():
        long, brief = encoder(padded), encoder(short)
    assert torch.allclose(long[0][:, : short.shape[1]], brief[0], atol=1e-5)
    assert torch.allclose(long.pooler_output, brief.pooler_output, atol=1e-5)


def _vae_and_pictures():
    torch.manual_seed(0)
    vae = build_vae(
        block_out_channels=(16, 16), latent_channels=4, layers_per_block=1, norm_num_groups=8, sample_size=16
    ).double()
    return vae, torch.rand(4, 3, 16, 12, dtype=torch.float64) * 2 - 1


def test_transformed_latents_are_as_asked_and_give_the_same_pictures():
    vae, x = _vae_and_pictures()
    matrix = torch.randn(4, 4, dtype=torch.float64) + 3 * torch.eye(4)
    with torch.no_grad():
        before = vae.encode(x).latent_dist
        picture, mean = vae.decode(before.mean).sample, before.mean.mean((0, 2, 3))
        transform_latents(vae, mean=mean, matrix=matrix)
        after = vae.encode(x).latent_dist
        assert torch.allclose(vae.decode(after.mean).sample, picture, atol=1e-9)
    expected = torch.einsum("ij,bjhw->bihw", matrix, before.mean - mean.reshape(1, -1, 1, 1))
    assert torch.allclose(after.mean, expected, atol=1e-9)


def test_a_diagonal_transform_scales_the_posteriors_deviation_too():
    vae, x = _vae_and_pictures()
    scale = torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
    with torch.no_grad():
        before = vae.encode(x).latent_dist.std
        transform_latents(vae, mean=torch.zeros(4).double(), matrix=torch.diag(scale))
        assert torch.allclose(vae.encode(x).latent_dist.std, before * scale.reshape(1, -1, 1, 1), atol=1e-9)


def test_with_power_1_distances_of_latents_are_those_of_pixels():
    """A linear decoder has an exact answer: after the transform equal steps in any direction change pixels alike."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(12, 4, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 3.0, 10.0, 30.0])
    decode = lambda z: types.SimpleNamespace(sample=torch.einsum("pc,bchw->bphw", weights, z.double()))
    vae = types.SimpleNamespace(decode=decode)
    z = torch.randn(3, 4, 5, 6, generator=generator, dtype=torch.float64)
    sensitivity = decoder_sensitivity(vae, z)  # type: ignore[arg-type]
    assert torch.allclose(sensitivity.double(), weights.T @ weights, rtol=1e-3)
    covariance = torch.diag(torch.tensor([4.0, 1.0, 2.0, 1.0])).double()
    matrix = latent_scale(covariance, sensitivity, power=1.0)
    seen = torch.linalg.inv(matrix).T @ weights.T @ weights @ torch.linalg.inv(matrix)
    assert torch.allclose(seen / seen[0, 0], torch.eye(4).double(), atol=1e-3)
    for power in (0.0, 0.5, 1.0):
        matrix = latent_scale(covariance, sensitivity, power=power)
        assert (matrix @ covariance @ matrix.T).trace().item() == pytest.approx(4.0)


def test_the_schedule_ends_in_pure_noise():
    scheduler = build_scheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    scheduler.set_timesteps(20)
    assert scheduler.alphas_cumprod[-1].item() == pytest.approx(0.0, abs=1e-6)
    assert scheduler.timesteps[0] == 999 and scheduler.config["prediction_type"] == "v_prediction"
    plain = build_scheduler(prediction_type="v_prediction", rescale_betas_zero_snr=False)
    assert plain.alphas_cumprod[-1].item() == pytest.approx(0.0047, abs=2e-4)


def test_a_widened_unet_starts_as_its_source_on_the_sample_channels():
    torch.manual_seed(0)
    source = small_unet().eval()
    unet = widen_for_tryon(source, sample_size=(16, 6)).eval()
    set_cross_attention(source, "zero")
    set_cross_attention(unet, "zero")
    noisy, masked, garment = torch.randn(3, 2, 4, 8, 6)
    inputs = unet_input(noisy, masked, garment, torch.ones(2, 1, 8, 6))
    with torch.no_grad():
        mine = unet(inputs, 5, encoder_hidden_states=None).sample
        its = source(inputs[:, :4], 5, encoder_hidden_states=None).sample
    assert unet.config["in_channels"] == 9 and torch.allclose(mine, its, atol=1e-5)
    silent = [p for name, p in unet.named_parameters() if ".attn2." in name]
    assert silent and all(not p.requires_grad and not p.any() for p in silent)


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: small_unet(block_out_channels=(16, 36)), "multiple of 8"),
        (lambda: small_unet(block_out_channels=(16,)), "at least 2 levels"),
        (
            lambda: build_vae(
                block_out_channels=(20,), latent_channels=4, layers_per_block=1, norm_num_groups=8, sample_size=8
            ),
            "width 20",
        ),
        (lambda: train_tokenizer(CAPTIONS, size=300, length=24), "300 tokens"),
    ],
)
def test_sizes_that_do_not_fit_are_named(build, words):
    with pytest.raises(ConfigError, match=words):
        build()


@pytest.mark.parametrize("load", [load_text2image, load_tryon])
def test_missing_models_are_named_with_their_folder(load, tmp_path):
    with pytest.raises(ModelError, match="there is no model at .*nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="lacks model_index.json"):
        load(tmp_path)
    with pytest.raises(ModelError, match="there is no model at"):
        load("someone/some-model")


def test_a_damaged_model_is_a_model_error(tmp_path):
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_text2image(tmp_path)
    assert "tokenizer/tokenizer.json" in missing_files(tmp_path, "text2image")
