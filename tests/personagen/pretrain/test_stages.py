"""Every stage of pretraining on a corpus of coloured squares: it runs, resumes exactly, and what it saves loads."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from personagen.corpora.corpus import Source, draw, open_corpora, open_corpus
from personagen.metrics.fidelity import psnr
from personagen.models import load_text2image, load_tryon
from personagen.models.build import build_vae
from personagen.pretrain import DecoderConfig, PretrainConfig, pretrain
from personagen.pretrain.decoder import repainted
from personagen.pretrain.thumbnail import start_from_thumbnail
from personagen.pretrain.vae import ssim_map
from personagen.training.config import LoopConfig
from personagen.training.latents import vary
from personagen.training.loop import learning_rate
from recsys.errors import ConfigError, DataError, ModelError, ResourceError
from tests.cases import cases
from tests.personagen.pretrain.tools import SIZE, make_corpus, tiny

STAGES = ("vae", "text", "text2image", "tryon", "view")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder in which all stages have run, without printing anything."""
    folder = tmp_path_factory.mktemp("pretrain")
    make_corpus(folder / "corpus")
    make_corpus(folder / "words", garments=False)
    return folder


@pytest.fixture(scope="module")
def steps(root):
    both = {str(root / "corpus"): 1.0, str(root / "words"): 0.5}
    settings = {stage: tiny(stage, root, corpora=both) for stage in STAGES}
    variants = {str(root / "corpus"): 1}
    tryon = dataclasses.replace(settings["tryon"].tryon, garment_variants=variants)
    settings["tryon"] = dataclasses.replace(settings["tryon"], tryon=tryon)
    return {stage: list(pretrain(config)) for stage, config in settings.items()}


def weights(folder):
    return {path.relative_to(folder): load_file(path) for path in sorted(folder.rglob("*.safetensors"))}


def assert_equal(a, b):
    assert a.keys() == b.keys() and a
    for name in a:
        assert a[name].keys() == b[name].keys()
        assert all(torch.equal(a[name][key], b[name][key]) for key in a[name]), name


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_yields_finite_steps_and_pictures_to_look_at(root, steps, stage):
    trained = [step for step in steps[stage] if step.losses]
    assert [step.step for step in trained] == [1, 2, 3, 4]
    assert all(np.isfinite(value) for step in trained for value in step.losses.values())
    assert [step.metrics is not None for step in trained] == [False, True, False, True]
    assert all(np.isfinite(value) for value in trained[-1].metrics.values())
    with Image.open(root / stage / "previews" / "step-000004.png") as sheet:
        assert sheet.height >= (1 if stage == "text" else 2) * SIZE[0]
    cached = [step.metrics["cached"] for step in steps[stage] if not step.losses]
    assert (stage in ("vae", "text")) == (not cached)


def test_saved_latents_have_mean_0_and_mean_variance_1(root, steps):
    pipe = load_text2image(root / "text2image" / "embedded")
    corpus = open_corpus(root / "corpus", size=SIZE)
    x = (
        torch.from_numpy(np.concatenate([corpus.arrays["image"], corpus.arrays["garment"]])).permute(0, 3, 1, 2) / 127.5
        - 1
    )
    with torch.no_grad():
        z = pipe.vae.encode(x).latent_dist.mean
    assert pipe.vae.config.scaling_factor == 1.0 and pipe.vae.config.shift_factor is None
    assert 0.5 < z.std().item() < 1.6 and abs(z.mean().item()) < 0.4


def test_text2image_loads_draws_and_saves_bit_identically(root, steps, tmp_path):
    pipe = load_text2image(root / "text2image" / "embedded")
    draw_one = lambda p: (
        p(
            "a blue square sks",
            height=SIZE[0],
            width=SIZE[1],
            num_inference_steps=2,
            output_type="pt",
            generator=torch.Generator().manual_seed(0),
        ).images
    )
    pipe.save_pretrained(tmp_path / "again")
    assert torch.equal(draw_one(pipe), draw_one(load_text2image(tmp_path / "again")))
    assert (root / "text2image" / "embedded" / "README.md").is_file()
    assert {path.name for path in (root / "text2image" / "embedded" / "tokenizer").iterdir()} >= {
        "vocab.json",
        "merges.txt",
    }
    stored = weights(root / "text2image" / "embedded")
    assert all(tensor.dtype == torch.float16 for named in stored.values() for tensor in named.values())


def test_tryon_finds_the_autoencoder_beside_it(root, steps):
    pipe = load_tryon(root / "tryon" / "tryon")
    corpus = open_corpus(root / "corpus", size=SIZE)
    person, garment, mask = (corpus.arrays[name][0] for name in ("image", "garment", "mask"))
    result = pipe(person, garment, mask > 0, num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[
        0
    ]
    assert (np.asarray(result)[mask == 0] == person[mask == 0]).all()
    assert (pipe.config.height, pipe.config.width, pipe.config.variant) == (*SIZE, "corrected")
    assert not (root / "tryon" / "tryon" / "vae").exists()


@pytest.mark.parametrize("stage", cases(["text2image"], slow=["vae", "text", "tryon", "view"]))
def test_a_run_that_was_stopped_ends_with_the_same_bits(root, steps, stage, tmp_path):
    (corpus,) = {str(root / "corpus")}
    config = tiny(stage, root, corpora={corpus: 1.0})
    straight = dataclasses.replace(config, output_dir=str(tmp_path / "straight"))
    halved = dataclasses.replace(config, output_dir=str(tmp_path / "halved"))
    list(pretrain(straight))
    first = pretrain(halved)
    for step in first:
        if step.step == 2:
            break
    first.close()  # type: ignore[attr-defined]
    torch.rand(7)  # the global generator must not matter
    rest = list(pretrain(halved))
    assert [step.step for step in rest if step.losses] == [3, 4]
    assert_equal(*(_without_old(weights(tmp_path / name)) for name in ("straight", "halved")))


def _without_old(found):
    return {
        path: named
        for path, named in found.items()
        if not str(path).startswith(("checkpoints/step-00000002", "checkpoints/step-00000003"))
    }


@pytest.mark.slow
def test_a_tokenizer_is_written_as_if_it_had_never_been_called(root, steps):
    """A run that is called again when it is at its end only writes its result, and must write the same."""
    assert steps["text"]
    for place in ("text/text", "text2image/embedded"):
        written = json.loads((root / place / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"))
        assert written["padding"] is None and written["truncation"] is None


def test_nothing_is_printed(root, steps, tmp_path, capfd):
    for stage in STAGES:
        list(
            pretrain(
                dataclasses.replace(
                    tiny(stage, root, corpora={str(root / "corpus"): 1.0}, steps=1), output_dir=str(tmp_path / stage)
                )
            )
        )
    load_text2image(tmp_path / "text2image" / "embedded")
    assert capfd.readouterr() == ("", "")


def test_latents_are_made_once_and_again_when_pictures_change(root, steps, tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    config = tiny("text2image", root, corpora={str(corpus): 1.0}, steps=1, output_dir=str(tmp_path / "run"))
    cached = lambda: sum(1 for step in pretrain(config) if not step.losses)
    assert cached() == 4 and cached() == 0
    np.save(corpus / "garment.npy", np.load(corpus / "garment.npy")[::-1].copy())
    assert cached() == 2


def test_corpora_of_one_name_keep_their_own_latents(root, steps, tmp_path):
    one, two = make_corpus(tmp_path / "a" / "corpus"), make_corpus(tmp_path / "b" / "corpus")
    for name in ("image", "garment"):
        np.save(two / f"{name}.npy", 255 - np.load(two / f"{name}.npy"))
    for stage in ("text2image", "tryon"):
        config = tiny(stage, root, corpora={str(one): 1.0, str(two): 1.0}, steps=1, output_dir=str(tmp_path / stage))
        list(pretrain(config))
        label = {"text2image": "image", "tryon": "person"}[stage]
        first, second = (np.load(path) for path in sorted((tmp_path / stage / "latents").glob(f"*corpus-{label}.npy")))
        assert not np.array_equal(first, second)


def test_a_checkpoint_of_other_sizes_is_refused(root, steps):
    config = tiny("text2image", root, corpora={str(root / "corpus"): 1.0, str(root / "words"): 0.5}, steps=5)
    sizes = dataclasses.replace(config.text2image, block_out_channels=(16, 48))
    with pytest.raises(ModelError, match="other sizes"):
        list(pretrain(dataclasses.replace(config, text2image=sizes)))


def test_losses_that_stay_non_finite_stop_the_run(root, tmp_path):
    config = tiny(
        "vae", root, corpora={str(root / "corpus"): 1.0}, steps=9, output_dir=str(tmp_path / "run"), checkpoint_every=99
    )
    config = dataclasses.replace(config, vae=dataclasses.replace(config.vae, kl_weight=float("nan")))
    with pytest.raises(ResourceError, match="5 steps in a row"):
        list(pretrain(config))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"corpora": {}}, "corpora is empty"),
        ({"stage": "unet"}, "'unet' is unknown"),
        ({"prediction_type": "epsilon"}, "rescale_betas_zero_snr"),
        ({"corpora": {"x": -1.0}}, "must be 0 or more"),
    ],
)
def test_settings_that_cannot_work_are_named(change, words):
    with pytest.raises(ConfigError, match=words):
        pretrain(dataclasses.replace(PretrainConfig(corpora={"x": 1.0}), **change))


@pytest.mark.parametrize("change, words", [({"steps": 0}, "steps is 0"), ({"ema_decay": 1.5}, "ema_decay is 1.5")])
def test_settings_of_the_loop_that_cannot_work_are_named(change, words):
    with pytest.raises(ConfigError, match=words):
        LoopConfig(**change)


def test_missing_models_and_corpora_are_named(root, tmp_path):
    with pytest.raises(DataError, match="is not a corpus"):
        list(pretrain(tiny("vae", root, corpora={str(tmp_path / "none"): 1.0})))
    with pytest.raises(ModelError, match="run the vae stage first"):
        list(pretrain(tiny("text2image", tmp_path, corpora={str(root / "corpus"): 1.0})))
    with pytest.raises(DataError, match="garment.npy and mask.npy"):
        open_corpora({str(root / "words"): 1.0}, size=SIZE, needs=("image", "garment", "mask"))
    with pytest.raises(DataError, match="expected uint8"):
        open_corpus(root / "corpus", size=(64, 48))
    short = make_corpus(tmp_path / "short")
    (short / "meta.jsonl").write_text(json.dumps({"split": "train"}) + "\n")
    with pytest.raises(DataError, match="expected uint8"):
        open_corpus(short, size=SIZE)


def test_the_learning_rate_rises_stays_and_falls():
    config = LoopConfig(steps=100, warmup_steps=10, decay_fraction=0.5, learning_rate=1.0)
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[10] == rates[50] == 1.0
    assert rates[75] == pytest.approx(0.5) and rates[99] == pytest.approx(0.02)


def test_draws_follow_the_weights():
    sources = [Source(np.zeros((5, 1)), np.array([1, 3]), 3.0), Source(np.zeros((9, 1)), np.arange(9), 1.0)]
    drawn = draw(sources, 4000, generator=torch.Generator().manual_seed(0))
    assert sum(i == 0 for i, _ in drawn) / 4000 == pytest.approx(0.75, abs=0.03)
    assert {row for i, row in drawn if i == 0} == {1, 3} and len({row for i, row in drawn if i == 1}) == 9


def test_garment_variants_stay_white_outside_and_differ():
    picture = torch.ones(1, 3, 32, 24)
    picture[:, :, 10:22, 8:16] = -1.0
    one, two, again = (vary(seed)(picture, [0]) for seed in (1, 2, 1))
    assert torch.equal(one, again) and not torch.equal(one, two)
    assert one.min() >= -1.001 and one.max() <= 1.001 and (one[:, :, 0] == 1).all()


def test_similarity_measures():
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.allclose(ssim_map(x, x), torch.ones(())) and psnr(x / 2, x / 2).min() > 90
    assert psnr(x / 2, x / 2 + 0.1)[0].item() == pytest.approx(20.0, abs=0.01)
    assert ssim_map(x, -x).mean() < 0


def test_an_autoencoder_starts_with_the_colours_of_its_pictures():
    torch.manual_seed(0)
    vae = build_vae(
        block_out_channels=(24, 48, 64, 64), latent_channels=8, layers_per_block=1, norm_num_groups=8, sample_size=32
    )
    start_from_thumbnail(vae)
    cells = torch.rand(6, 3, 4, 4) * 1.6 - 0.8
    x = cells.repeat_interleave(8, 2).repeat_interleave(8, 3)
    with torch.no_grad():
        y = vae.decode(vae.encode(x).latent_dist.mean).sample
    inner = lambda a: a[:, :, 4::8, 4::8].flatten()
    assert y.std().item() == pytest.approx(x.std().item(), rel=0.1)
    assert torch.corrcoef(torch.stack([inner(x), inner(y)]))[0, 1] > 0.95
    with pytest.raises(ConfigError, match="first two widths must differ"):
        start_from_thumbnail(
            build_vae(
                block_out_channels=(24, 24), latent_channels=4, layers_per_block=1, norm_num_groups=8, sample_size=32
            )
        )


def test_a_decoder_is_trained_on_made_latents_while_the_encoder_stays(root, steps, tmp_path):
    corpora = {str(make_corpus(tmp_path / "corpus", size=(64, 48))): 1.0}
    settings = tiny("decoder", tmp_path, corpora=corpora, steps=4, height=64, width=48)
    painter = root / "text2image" / "embedded"
    decoder = DecoderConfig(painter_dir=str(painter), steps=2, adversarial_after=2)
    config = dataclasses.replace(settings, decoder=decoder)
    done = list(pretrain(config))
    losses = [step.losses for step in done if step.losses]
    assert ["fooling" in one for one in losses] == [False, False, True, True]
    assert all(np.isfinite(value) for one in losses for value in one.values()) and losses[0]["features"] > 0
    caches = [step.metrics or {} for step in done if not step.losses]
    assert [one["made"] for one in caches if "made" in one][-1] == 1
    before, after = (load_file(next((f / "vae").glob("*.safetensors"))) for f in (painter, tmp_path / "decoder"))
    changed = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed <= {"decoder", "post_quant_conv"} and "decoder" in changed
    assert str(root) not in (tmp_path / "decoder" / "vae" / "config.json").read_text()
    assert not list((tmp_path / "decoder" / "vae").glob("*critic*"))


def test_latents_that_a_painter_made_are_near_the_true_ones_where_little_noise_was_added(root, steps):
    pipe = load_text2image(str(root / "text2image" / "embedded"))
    z = torch.randn(2, 4, 8, 6, generator=torch.Generator().manual_seed(0))
    distances = []
    for highest in (0.001, 0.9):
        settings = DecoderConfig(highest_noise=highest)
        made = repainted(pipe, z, ["a red square"] * 2, settings=settings, generator=torch.Generator().manual_seed(1))
        assert made.shape == z.shape and made.isfinite().all()
        distances.append((made - z).square().mean().item())
    assert distances[0] < 0.05 < distances[1]


@pytest.mark.parametrize(
    "stage, finished",
    cases([("text2image", "text2image/embedded")], slow=[("vae", "vae"), ("tryon", "tryon/tryon")]),
)
def test_a_new_run_can_start_from_a_finished_model(root, steps, stage, finished, tmp_path):
    settings = tiny(stage, root, corpora={str(root / "corpus"): 1.0}, steps=1, learning_rate=1e-12, ema_decay=0.0)
    again = dataclasses.replace(settings, output_dir=str(tmp_path), start_from=str(root / finished))
    list(pretrain(again))
    before = load_file(next((root / finished).rglob("*model.safetensors")))
    after = load_file(next((tmp_path / finished.split("/")[-1]).rglob("*model.safetensors")))
    assert before.keys() == after.keys()
    if stage != "vae":  # whose export normalises the latents anew
        assert all(torch.equal(before[key], after[key]) for key in before)
    elsewhere = dataclasses.replace(again, output_dir=str(tmp_path / "b"), start_from=str(tmp_path / "nothing"))
    with pytest.raises((ModelError, OSError)):
        list(pretrain(elsewhere))
