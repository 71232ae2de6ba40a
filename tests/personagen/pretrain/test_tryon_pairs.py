"""Training and measuring on pairs: miniature copies of the published layouts, every loss and every trained part."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from personagen.corpora.corpus import open_corpus
from personagen.corpora.pairs import DRESSCODE, LIP, load_pair, read_pairs, write_pairs_corpus
from personagen.figure.completer import Completer
from personagen.metrics.tryon import contact_sheet, evaluate_tryon, summarise
from personagen.models import load_tryon
from personagen.models.base import load_tryon_base
from personagen.pretrain.pairs_config import TryOnTrainConfig
from personagen.pretrain.tryon_pairs import train_tryon_pairs
from personagen.training.config import LoopConfig
from personagen.tryon.config import BaseConfig
from recsys.errors import ConfigError, DataError
from tests.cases import cases
from tests.personagen.sd15 import write_base

SIZE = (64, 64)
COLOURS = ((200, 30, 30), (30, 30, 200), (30, 160, 60), (230, 200, 40))


def worn(colour, labels: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A person (64, 48, 3) in a garment of one colour, and the parsing with hair and that garment marked."""
    photo, parsing = np.full((64, 48, 3), 210, np.uint8), np.zeros((64, 48), np.uint8)
    photo[4:12, 18:30], parsing[4:12, 18:30] = (60, 40, 20), labels[0]
    photo[14:44, 12:36], parsing[14:44, 12:36] = colour, labels[1]
    return photo, parsing


def cloth(colour) -> np.ndarray:
    picture = np.full((64, 48, 3), 255, np.uint8)
    picture[14:50, 10:38] = colour
    return picture


def save(array: np.ndarray, path: Path, *, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image.putpalette([i for value in range(256) for i in (value, 255 - value, value)])
    image.save(path)


def viton(root: Path, *, split: str = "train", count: int = 6) -> Path:
    names = [f"{i:05d}_00" for i in range(count)]
    for i, name in enumerate(names):
        photo, parsing = worn(COLOURS[i % 4], (LIP.index("hair"), LIP.index("upper")))
        save(photo, root / split / "image" / f"{name}.jpg")
        save(cloth(COLOURS[i % 4]), root / split / "cloth" / f"{name}.jpg")
        save(parsing, root / split / "image-parse-v3" / f"{name}.png", palette=True)
    mask = np.zeros((64, 48), np.uint8)
    mask[10:50, 8:40] = 255
    save(mask, root / split / "agnostic-mask" / f"{names[0]}_mask.png")
    shifted = names[1:] + names[:1]
    lines = zip(names, names if split == "train" else shifted)
    (root / f"{split}_pairs.txt").write_text("".join(f"{a}.jpg {b}.jpg\n" for a, b in lines))
    return root


def dresscode(root: Path) -> Path:
    for category, label in (("upper_body", 4), ("lower_body", 5), ("dresses", 7)):
        for i in range(2):
            photo, parsing = worn(COLOURS[i], (DRESSCODE.index("hair"), label))
            save(photo, root / category / "images" / f"{i:06d}_0.jpg")
            save(cloth(COLOURS[i]), root / category / "images" / f"{i:06d}_1.jpg")
            save(parsing, root / category / "label_maps" / f"{i:06d}_4.png", palette=True)
        lines = [f"{i:06d}_0.jpg\t{i:06d}_1.jpg\n" for i in range(2)]
        for name in ("train_pairs.txt", "test_pairs_paired.txt"):
            (root / category / name).write_text("".join(lines))
        (root / category / "test_pairs_unpaired.txt").write_text("000000_0.jpg\t000001_1.jpg\n")
    return root


def test_viton_hd_is_read_with_its_own_masks_or_from_the_parsing(tmp_path):
    pairs = read_pairs(viton(tmp_path), "viton-hd")
    assert len(pairs) == 6 and pairs[0].mask is not None and pairs[1].mask is None
    _, garment, own = load_pair(pairs[0])
    _, _, made = load_pair(pairs[1])
    assert own.sum() == 40 * 32 and garment.size == (48, 64)
    assert made[20:40, 14:34].all() and not made[4:12, 18:30].any()
    viton(tmp_path, split="test")
    worn_pairs, others = (read_pairs(tmp_path, "viton-hd", split="test", paired=paired) for paired in (True, False))
    assert all(pair.person.stem == pair.garment.stem for pair in worn_pairs)
    assert all(pair.person.stem != pair.garment.stem for pair in others)
    (tmp_path / "ids.txt").write_text("00002_00.jpg 00004_00.jpg\n")
    assert [p.key for p in read_pairs(tmp_path, "viton-hd", split="test", ids=tmp_path / "ids.txt")] == [
        "00002_00+00004_00"
    ]


def test_dresscode_is_read_by_category(tmp_path):
    pairs = read_pairs(dresscode(tmp_path), "dresscode")
    assert [pair.kind for pair in pairs] == ["upper"] * 2 + ["lower"] * 2 + ["dress"] * 2
    assert all(load_pair(pair)[2][20:40, 14:34].all() for pair in pairs)
    (tmp_path / "ids.txt").write_text("dresses/000001_0.jpg 000000_1.jpg\n")
    (one,) = read_pairs(tmp_path, "dresscode", split="test", ids=tmp_path / "ids.txt")
    assert one.key == "dresses/000001_0+000000_1" and one.kind == "dress"


def test_what_is_missing_or_odd_in_a_data_set_is_named(tmp_path):
    root = viton(tmp_path)
    with pytest.raises(ConfigError, match="viton-hd"):
        read_pairs(root, "vitonhd")
    with pytest.raises(DataError, match="list of pairs"):
        read_pairs(root, "viton-hd", split="test")
    with pytest.raises(DataError, match="test_pairs_unpaired"):
        read_pairs(root, "dresscode", split="test", paired=False)
    (root / "train_pairs.txt").write_text("../../secret.jpg 1.jpg\n")
    with pytest.raises(DataError, match="line 1"):
        read_pairs(root, "viton-hd")
    (root / "train_pairs.txt").write_text("00009_00.jpg 00009_00.jpg\n")
    with pytest.raises(DataError, match="00009_00.jpg"):
        read_pairs(root, "viton-hd")
    (root / "train_pairs.txt").write_text("00001_00.jpg 00001_00.jpg\n")
    (pair,) = read_pairs(root, "viton-hd")
    save(np.zeros((64, 48, 3), np.uint8), pair.parsing)
    with pytest.raises(DataError, match="one value a pixel"):
        load_pair(pair)
    save(np.zeros((64, 48), np.uint8), pair.parsing)
    with pytest.raises(DataError, match="marks no"):
        load_pair(pair)


@pytest.fixture(scope="module")
def stock(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("stock")
    list(write_pairs_corpus(read_pairs(viton(folder / "viton"), "viton-hd"), folder / "corpus", size=SIZE))
    return {"base": str(write_base(folder / "base")), "corpus": str(folder / "corpus"), "root": str(folder / "viton")}


LOOP: dict[str, Any] = {"steps": 3, "batch_size": 2, "learning_rate": 1e-3, "warmup_steps": 1, "ema_decay": 0.0,
        "mixed_precision": "no", "device": "cpu", "evaluate_every": 3, "preview_every": 3, "checkpoint_every": 2,
        "heldout_rows": 2}  # fmt: skip


def settings(stock, out: Path, **changes) -> TryOnTrainConfig:
    loop = {name: changes.pop(name) for name in list(changes) if name in LoopConfig.__dataclass_fields__}
    base = BaseConfig(stock["base"], variant="corrected", cross_attention="zero", eta=0.0, height=64, width=64)
    config = TryOnTrainConfig(
        output_dir=str(out), corpora={stock["corpus"]: 1.0}, base=base, rank=2, height=64, width=64,
        loop=LoopConfig(**{**LOOP, **loop}), preview_rows=1, preview_steps=1,
    )  # fmt: skip
    return replace(config, **changes)


def trained(config: TryOnTrainConfig) -> list:
    return [step for step in train_tryon_pairs(config) if step.losses]


def latents(base: BaseConfig) -> torch.Tensor:
    pipe: Any = load_tryon_base(base)
    picture = Image.fromarray(worn(COLOURS[0], (1, 2))[0])
    mask = np.zeros((64, 48), bool)
    mask[14:44, 12:36] = True
    out = pipe(
        picture, picture, mask, num_inference_steps=1, generator=torch.Generator().manual_seed(0), output_type="latent"
    )
    return torch.as_tensor(out.images)


def test_a_corpus_of_pairs_is_a_corpus(stock):
    corpus = open_corpus(stock["corpus"], size=SIZE)
    assert len(corpus.meta) == 6 and set(np.unique(corpus.arrays["mask"])) == {0, 1}


@pytest.mark.parametrize(("train", "variant"), cases([("attn1", "corrected")], slow=[("lora", "plain")]))
def test_what_is_trained_is_exported_and_changes_the_result(train, variant, stock, tmp_path):
    config = settings(stock, tmp_path, train=train, variant=variant, garment_variants=1)
    steps = trained(config)
    assert len(steps) == 3 and all(np.isfinite(step.losses["loss"]) for step in steps)
    assert {"heldout_mse", "swapped_garment_mse"} <= set(steps[-1].metrics)
    assert config.base is not None
    written: dict[str, Any] = {
        "attn1": {"attention": str(tmp_path / "attention")},
        "lora": {"lora": str(tmp_path / "lora")},
    }
    assert not torch.equal(latents(replace(config.base, **written[train])), latents(config.base))


@pytest.mark.parametrize("precision", cases(["no"], slow=["fp16"]))
def test_a_stopped_run_goes_on_to_the_same_weights(precision, stock, tmp_path):
    trained(settings(stock, tmp_path / "whole", mixed_precision=precision))
    run = train_tryon_pairs(settings(stock, tmp_path / "twice", mixed_precision=precision))
    for step in run:
        if step.step == 1:
            run.close()  # type: ignore[attr-defined]
            break
    assert len(trained(settings(stock, tmp_path / "twice", mixed_precision=precision))) == 2
    one, two = (load_file(tmp_path / name / "attention" / "model.safetensors") for name in ("whole", "twice"))
    assert len(one) == 80 and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.slow
def test_the_whole_unet_is_trained_from_a_data_set(stock, tmp_path):
    steps = trained(settings(stock, tmp_path, corpora={}, root=stock["root"], train="unet", steps=2))
    assert len(steps) == 2 and (tmp_path / "corpus" / "meta.jsonl").is_file()
    assert (tmp_path / "tryon" / "model_index.json").is_file()


@pytest.mark.slow
def test_a_model_that_starts_from_a_draped_garment_is_trained_on_one(stock, tmp_path):
    pipe: Any = load_tryon_base(settings(stock, tmp_path).base)  # type: ignore[arg-type]
    pipe.register_to_config(prefill="garment")
    pipe.save_pretrained(tmp_path / "model")
    config = settings(stock, tmp_path / "run", base=None, model=str(tmp_path / "model"), garment_variants=1)
    steps = trained(config)
    draped, masked = (np.load(next((tmp_path / "run" / "latents").glob(f"*-{name}.npy")))
                      for name in ("draped-1", "masked"))  # fmt: skip
    assert draped.shape == masked.shape and not np.array_equal(draped, masked)
    assert steps[-1].metrics["swapped_garment_mse"] != steps[-1].metrics["heldout_mse"]
    made: Any = load_tryon(tmp_path / "run" / "tryon")
    assert made.config["prefill"] == "garment"


@pytest.mark.slow
def test_a_corpus_with_guesses_shows_them_and_its_lora_completes_views(stock, tmp_path):
    """What a view completer is trained on at Stable Diffusion's size: the guess is the figure's own view."""
    folder = shutil.copytree(stock["corpus"], tmp_path / "views")
    images, masks = (np.load(folder / f"{name}.npy") for name in ("image", "mask"))
    guess = np.where(masks[..., None] > 0, 128, images).astype(np.uint8)
    np.save(folder / "guess.npy", guess)
    config = settings(stock, tmp_path / "run", corpora={str(folder): 1.0}, train="lora", garment_dropout=0.0)
    assert len(trained(config)) == 3 and (tmp_path / "run" / "previews" / "step-000003.png").is_file()
    pipe: Any = load_tryon_base(replace(config.base, lora=str(tmp_path / "run" / "lora")))  # type: ignore[type-var]
    shown = np.load(next((tmp_path / "run" / "latents").glob("*-draped-0.npy")))
    with torch.no_grad():
        mean = pipe.vae.encode(torch.from_numpy(guess).permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mean
    assert np.allclose(shown, (mean * pipe.vae.config.scaling_factor).numpy(), atol=0.02)
    paint = Completer(pipe)
    front = Image.fromarray(images[0])
    change = paint(front, Image.fromarray(guess[0]), masks[0] > 0, torch.Generator().manual_seed(0))
    assert change.shape == images[0].shape and np.isfinite(change).all() and np.abs(change).max() > 0
    assert pipe.config["prefill"] == "grey"  # it is left as it was


def test_settings_of_training_are_refused(stock, tmp_path):
    for changes, words in (({"corpora": {}}, "root is null"), ({"base": None, "train": "lora"}, "without a base"),
                           ({"garment_dropout": 2.0}, "garment_dropout"), ({"rank": 0}, "rank")):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            settings(stock, tmp_path, **changes)


def painter(person, garments, mask, *, repaint, **settings):
    """A try-on that works perfectly: the garment's mean colour fills the mask."""
    images = []
    for garment in garments:
        array, picture = np.array(person), np.asarray(garment)
        array[mask] = picture[(picture < 250).any(-1)].mean(0)
        images.append(Image.fromarray(array if repaint else 255 - array))
    return SimpleNamespace(images=images)


def test_a_perfect_painter_passes_and_a_deaf_one_fails(tmp_path):
    pairs = read_pairs(viton(tmp_path, split="test"), "viton-hd", split="test")
    perfect: Any = painter
    perfect.config = {"height": 64, "width": 48}
    cases = list(evaluate_tryon(perfect, pairs))
    summary = summarise(cases)
    assert summary["swap"]["mean"] == 1 and summary["identity"]["mean"] == 1 and summary["l1_outside"]["mean"] == 0
    assert summary["ssim"]["n"] == 6 and summary["psnr_inside"]["mean"] > 10
    loose = summarise(list(evaluate_tryon(perfect, pairs[:2], repaint=False)))
    assert loose["identity"]["mean"] < 0.1
    unpaired = list(evaluate_tryon(perfect, read_pairs(tmp_path, "viton-hd", split="test", paired=False), paired=False))
    assert "ssim" not in unpaired[0].figures and "l1_inside" not in unpaired[0].figures

    def deaf(person, garments, mask, **settings):
        return SimpleNamespace(images=[person] * len(garments))

    listener: Any = deaf
    listener.config = perfect.config
    assert summarise(list(evaluate_tryon(listener, pairs)))["swap"]["mean"] < 1
    sheet = contact_sheet(cases, by="ssim", rows=2)
    assert sheet.size == (6 * 48 + 40, 2 * (64 + 24))
    with pytest.raises(DataError, match="no pair"):
        next(evaluate_tryon(perfect, []))
