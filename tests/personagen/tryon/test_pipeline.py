"""The try-on pipeline against a plain restatement of its algorithm, and the promises of its docstring."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from PIL import Image

from personagen.tryon.attention import set_cross_attention
from personagen.tryon.custom import CUSTOM, leave_code
from personagen.tryon.pipeline import TryOnPipeline, latent_mask, paint_out, spawn_generators, unet_input
from personagen.warping.drape import drape
from recsys.errors import ConfigError, DataError, ModelError

SIZE = (32, 24)


@pytest.fixture(scope="module")
def pipe() -> Any:
    torch.manual_seed(0)
    vae: Any = AutoencoderKL.from_config({
        "block_out_channels": (8, 8), "down_block_types": ("DownEncoderBlock2D",) * 2, "latent_channels": 4,
        "up_block_types": ("UpDecoderBlock2D",) * 2, "norm_num_groups": 4, "scaling_factor": 0.7, "shift_factor": 0.1,
    })  # fmt: skip
    scheduler = DDIMScheduler(prediction_type="v_prediction", clip_sample=False)
    return TryOnPipeline(vae, tiny_unet(), scheduler, height=SIZE[0], width=SIZE[1])


def tiny_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        in_channels=9, out_channels=4, block_out_channels=(16, 32), layers_per_block=1, cross_attention_dim=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=8, norm_num_groups=4,
    )  # fmt: skip


def picture(height: int, width: int, *, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def box(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = True
    return mask


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def restated(pipe, person, garment, mask, *, variant, steps, guidance, eta, generator, prefill="grey"):
    """notes: masked person and garment side by side; DDIM (Song et al. 2021, eq. 12 and 16) with v-prediction."""

    def encode(pixels):
        return (pipe.vae.encode(pixels).latent_dist.mode() - 0.1) * 0.7

    z_m, z_g = encode((2 * person - 1) * (1 - mask)), encode(2 * garment - 1)
    z_s = z_m if prefill == "grey" else encode(drape(2 * person - 1, mask, 2 * garment - 1))
    h, w = z_m.shape[2:]
    m = mask[:, :, ::2, ::2]
    mcat = torch.cat([m, torch.zeros_like(m)], 2)
    x = torch.randn((1, 4, 2 * h if variant == "plain" else h, w), generator=generator)
    trace, span = [], 1000 // steps
    for t in [span * i for i in reversed(range(steps))]:

        def run(shown, g, x=x, t=t):
            sample = x if variant == "plain" else torch.cat([x, g], 2)
            inputs = torch.cat([sample, mcat, torch.cat([shown, g], 2)], 1)
            return pipe.unet(inputs, t, encoder_hidden_states=None).sample

        without, given = run(z_m, torch.zeros_like(z_g)), run(z_s, z_g)
        v = (without + guidance * (given - without))[:, :, : x.shape[2]]
        a = pipe.scheduler.alphas_cumprod[t]
        b = pipe.scheduler.alphas_cumprod[t - span] if t >= span else torch.tensor(1.0)
        x0, noise = a.sqrt() * x - (1 - a).sqrt() * v, a.sqrt() * v + (1 - a).sqrt() * x
        sigma = eta * ((1 - b) / (1 - a) * (1 - a / b)).sqrt()
        x = b.sqrt() * x0 + (1 - b - sigma**2).sqrt() * noise
        if eta:
            x = x + sigma * torch.randn(x.shape, generator=generator)
        trace.append(x)
    return trace


@pytest.mark.parametrize("variant, eta, prefill", [
    ("corrected", 0.0, "grey"), ("corrected", 1.0, "garment"), ("plain", 1.0, "grey"), ("plain", 0.0, "garment"),
])  # fmt: skip
def test_every_step_equals_the_plain_restatement(pipe, variant, eta, prefill):
    pipe = TryOnPipeline(pipe.vae, pipe.unet, pipe.scheduler, height=SIZE[0], width=SIZE[1], prefill=prefill)
    person, garment = torch.rand(1, 3, *SIZE, generator=seeded(1)), torch.rand(1, 3, *SIZE, generator=seeded(2))
    person, garment = (person * 255).round() / 255, (garment * 255).round() / 255
    mask = torch.from_numpy(box(*SIZE)).float()[None, None]
    settings = {"variant": variant, "eta": eta}
    expected = restated(
        pipe, person, garment, mask, steps=5, guidance=2.5, generator=seeded(7), prefill=prefill, **settings
    )
    seen = []
    pipe(person, garment, mask, num_inference_steps=5, guidance_scale=2.5, generator=[seeded(7)], **settings,
         callback_on_step_end=lambda pipe, i, t, values: seen.append(values["latents"]) or values)  # fmt: skip
    assert len(seen) == 5
    for got, want in zip(seen, expected, strict=True):
        torch.testing.assert_close(got, want, atol=1e-4, rtol=0)


def test_the_input_is_person_above_garment_in_the_order_of_sd_inpainting():
    noisy, masked, garment = (torch.full((2, 3, 4, 5), float(v)) for v in (1, 2, 3))
    mask = torch.full((2, 1, 4, 5), 9.0)
    x = unet_input(noisy, masked, garment, mask)
    assert x.shape == (2, 7, 8, 5)
    top, below = x[0, :, 0, 0].tolist(), x[0, :, 4, 0].tolist()
    assert top == [1, 1, 1, 9, 2, 2, 2] and below == [3, 3, 3, 0, 3, 3, 3]
    plain = unet_input(noisy, masked, garment, mask, garment_sample=torch.full_like(garment, 7.0))
    assert plain[0, :, 4, 0].tolist() == [7, 7, 7, 0, 3, 3, 3]
    with pytest.raises(ConfigError, match="one shape"):
        unet_input(noisy, masked, garment[:, :, :2], mask)
    with pytest.raises(ConfigError, match="one channel"):
        unet_input(noisy, masked, garment, mask[:, :, :2])


def test_zero_leaves_cross_attention_out_and_identity_adds_its_normalised_input():
    torch.manual_seed(0)
    block: Any = BasicTransformerBlock(16, 2, 8, cross_attention_dim=8).eval()
    x = torch.randn(2, 6, 16)
    h = x + block.attn1(block.norm1(x))
    for kind, after in (("zero", h), ("identity", h + block.norm2(h))):
        set_cross_attention(block, kind)
        expected = after + block.ff(block.norm3(after))
        torch.testing.assert_close(block(x), expected)
    with pytest.raises(ConfigError, match="zero"):
        set_cross_attention(block, "none")


@pytest.mark.parametrize("shape", [(50, 31), (32, 24), (20, 90)])
def test_any_aspect_comes_back_and_nothing_outside_the_mask_changes(pipe, shape):
    person, mask = picture(*shape), box(*shape)
    result = pipe(person, picture(40, 40, seed=1), mask, num_inference_steps=2, generator=seeded()).images[0]
    assert result.size == person.size
    before, after = np.asarray(person), np.asarray(result)
    assert (before[~mask] == after[~mask]).all()
    assert (before[mask] != after[mask]).any(axis=-1).mean() > 0.8


def test_without_repaint_the_decoded_picture_is_returned(pipe):
    person, mask = picture(*SIZE), box(*SIZE)
    result = pipe(person, person, mask, num_inference_steps=1, generator=seeded(), repaint=False).images[0]
    assert (np.asarray(result)[~mask] != np.asarray(person)[~mask]).mean() > 0.9


def test_a_picture_does_not_depend_on_its_batch(pipe):
    person, mask = picture(*SIZE), box(*SIZE)
    garments = [picture(*SIZE, seed=s) for s in (1, 2, 3)]
    together = pipe(person, garments, mask, num_inference_steps=3, eta=1.0, generator=seeded(5), output_type="latent")
    one = seeded(5)
    for i, garment in enumerate(garments):
        alone = pipe(person, garment, mask, num_inference_steps=3, eta=1.0, generator=one, output_type="latent").images
        torch.testing.assert_close(together.images[i : i + 1], alone, atol=1e-4, rtol=1e-4)


def test_guidance_one_is_the_conditional_model_and_the_garment_matters(pipe):
    person, mask = picture(*SIZE), box(*SIZE)

    def run(garment, guidance):
        out = pipe(
            person,
            garment,
            mask,
            num_inference_steps=2,
            guidance_scale=guidance,
            generator=seeded(),
            output_type="latent",
        )
        return out.images  # fmt: skip

    a, b = picture(*SIZE, seed=1), picture(*SIZE, seed=2)
    torch.testing.assert_close(run(a, 1.0), run(a, 1.0 + 1e-6), atol=1e-3, rtol=0)
    assert not torch.equal(run(a, 1.0), run(b, 1.0))


def test_saved_and_loaded_it_is_bit_identical(pipe, tmp_path):
    person, mask = picture(*SIZE), box(*SIZE)
    pipe.save_pretrained(tmp_path)
    loaded: Any = TryOnPipeline.from_pretrained(tmp_path, use_safetensors=True)
    names = ("variant", "cross_attention", "height", "width")
    assert [loaded.config[n] for n in names] == ["corrected", "zero", *SIZE]
    runs = [
        p(person, person, mask, num_inference_steps=2, generator=seeded(), output_type="pt") for p in (pipe, loaded)
    ]
    first, second = [run.images for run in runs]
    assert torch.equal(first, second)


def test_output_types_agree(pipe):
    person, mask = picture(*SIZE), box(*SIZE)
    out = {
        kind: pipe(person, person, mask, num_inference_steps=1, generator=seeded(), output_type=kind).images
        for kind in ("pil", "np", "pt")
    }
    pixels = np.asarray(out["pil"][0]) / 255
    np.testing.assert_allclose(out["np"][0], pixels, atol=1e-6)
    np.testing.assert_allclose(out["pt"][0].permute(1, 2, 0), pixels, atol=1e-6)


def test_the_callback_can_replace_latents_and_stop(pipe):
    person, mask = picture(*SIZE), box(*SIZE)
    zeros = pipe(
        person, person, mask, num_inference_steps=2, output_type="latent",
        callback_on_step_end=lambda pipe, i, t, values: {"latents": torch.zeros_like(values["latents"])},
    ).images  # fmt: skip
    assert not zeros.any()

    def stop(pipe, i, t, values):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipe(person, person, mask, callback_on_step_end=stop)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_inference_steps": 0}, "1..1000"),
        ({"guidance_scale": 0.5}, "1..30"),
        ({"eta": 2.0}, "0..1"),
        ({"variant": "new"}, "corrected"),
        ({"output_type": "gif"}, "pil"),
        ({"height": 33}, "multiples of 2"),
        ({"generator": [torch.Generator()] * 2}, "one each"),
    ],
)
def test_settings_are_refused_with_the_allowed_range(pipe, settings, message):
    with pytest.raises(ConfigError, match=message):
        pipe(picture(*SIZE), picture(*SIZE), box(*SIZE), **settings)


def test_pictures_and_masks_are_refused_with_the_remedy(pipe):
    person, mask = picture(*SIZE), box(*SIZE)
    with pytest.raises(DataError, match="draw it on that photo"):
        pipe(person, person, mask.T)
    with pytest.raises(DataError, match="marks nothing"):
        pipe(person, person, np.zeros(SIZE, bool))
    with pytest.raises(DataError, match="do not pair up"):
        pipe([person] * 2, [person] * 3, mask)
    with pytest.raises(DataError, match="str"):
        pipe("person.png", person, mask)
    with pytest.raises(DataError, match="no picture"):
        pipe([], person, mask)


def test_a_unet_of_another_kind_is_refused(pipe):
    with pytest.raises(ModelError, match="9"):
        TryOnPipeline(pipe.vae, UNet2DConditionModel(block_out_channels=(32,), norm_num_groups=4, in_channels=4,
                      down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",)), pipe.scheduler)  # fmt: skip


def test_non_finite_latents_are_refused(pipe):
    broken: Any = tiny_unet()
    torch.nn.init.constant_(broken.conv_out.bias, float("nan"))
    sick = TryOnPipeline(pipe.vae, broken, pipe.scheduler, height=SIZE[0], width=SIZE[1])
    with pytest.raises(ModelError, match="non-finite"):
        sick(picture(*SIZE), picture(*SIZE), box(*SIZE), num_inference_steps=1)


def test_training_and_sampling_share_the_painting_out():
    person, mask = torch.ones(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., 2:, :] = 1
    assert paint_out(person, mask)[0, 0, :, 0].tolist() == [1, 1, 0, 0]
    assert latent_mask(mask, size=(2, 2))[0, 0, :, 0].tolist() == [0, 1]


def test_generators_are_spawned_in_order():
    several = spawn_generators(seeded(3), count=3)
    one = seeded(3)
    again = [spawn_generators(one, count=1)[0] for _ in range(3)]
    assert [g.initial_seed() for g in several] == [g.initial_seed() for g in again]
    assert len({g.initial_seed() for g in several}) == 3


@pytest.mark.parametrize("own_code", [True, False], ids=["the folder's code", "the installed code"])
def test_plain_diffusers_loads_a_saved_folder(pipe, own_code, tmp_path):
    folder = tmp_path / "tryon"
    pipe.save_pretrained(folder)
    if own_code:
        leave_code(folder)
    code = str(folder) if own_code else CUSTOM
    loaded = DiffusionPipeline.from_pretrained(str(folder), custom_pipeline=code, trust_remote_code=True)
    assert type(loaded) is TryOnPipeline and loaded.config["height"] == SIZE[0]
    person, garment, mask = picture(*SIZE), picture(*SIZE, seed=1), box(*SIZE)
    pictures = [
        one(person, garment, mask, num_inference_steps=2, generator=seeded(), output_type="np").images
        for one in (pipe, loaded)
    ]
    assert np.array_equal(*pictures)
