"""Try-on on the command line, with tiny real models: masks, garments, outfits, and how bad pictures are refused."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import save_file
from transformers import ViTConfig, ViTModel

from apps import cli
from personagen.atelier.agnostic import agnostic_mask
from personagen.atelier.corpus import HELDOUT_SEED, random_sitting
from personagen.atelier.garment import random_garment
from personagen.atelier.render import render_garment, render_person
from personagen.person.network import ParserSizes, PersonParser
from personagen.person.parser import save_parser
from personagen.provenance import read_png
from personagen.styling.sources import atelier
from tests.cases import cases
from tests.personagen.metrics.test_lpips import weights as lpips_weights
from tests.personagen.pretrain.test_tryon_pairs import viton

from .tiny import pipelines


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    """A tiny try-on model, and a parser that takes the lower three quarters of every photo for a top."""
    folder = tmp_path_factory.mktemp("models")
    pipelines()[0].save_pretrained(folder / "tryon")
    parser = PersonParser(ParserSizes(3, (8, 16), 4, 32, 24))
    with torch.no_grad():
        for name, weight in parser.named_parameters():
            if weight.ndim > 1 or "bias" in name:
                weight.zero_()
        parser.get_parameter("lateral.1.weight")[0, 24] = 1.0  # the row, which passes two SiLUs on its way up
        parser.get_parameter("narrow.0.weight")[0, 0] = 1.0
        assert parser.head.bias is not None
        parser.head.weight[3, 0], parser.head.bias[3] = 500.0, 40.0
    return {"model": str(folder / "tryon"), "parser": str(save_parser(parser, folder / "parser"))}


@pytest.fixture
def shop(tmp_path) -> dict[str, str]:
    rng = np.random.default_rng(0)
    for name, size in (("me.jpg", (160, 120)), ("top.png", (90, 90)), ("skirt.png", (50, 70))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / name)
    mask = np.zeros((160, 120), np.uint8)
    mask[30:90, 30:90] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return {name: str(tmp_path / f"{name}.{end}") for name, end in
            (("me", "jpg"), ("top", "png"), ("skirt", "png"), ("mask", "png"))} | {"folder": str(tmp_path)}  # fmt: skip


def wear(models, shop, *rest: str) -> int:
    flags = ["--person", shop["me"], "--model", models["model"], "--steps", "1", "--out", f"{shop['folder']}/worn.png"]
    return cli.main(["tryon", "wear", *flags, *rest])


def test_a_mask_is_found_written_and_can_be_worn(models, shop, tmp_path, capsys):
    out = tmp_path / "found.png"
    flags = ["--person", shop["me"], "--parser", models["parser"], "--kind", "t-shirt", "--out", str(out)]
    assert cli.main(["tryon", "mask", *flags]) == 0 and "%" in capsys.readouterr().out
    found = np.asarray(Image.open(out))
    assert found.shape == (160, 120) and found[60:].all() and not found[:20].any()
    assert wear(models, shop, "--garment", shop["top"], "--mask", str(out), "--fast", "true", "--zoom", "true") == 0
    assert cli.main(["tryon", "mask", *flags[:-1], str(tmp_path), "--kind", "hat"]) == 2
    assert cli.main(["tryon", "mask", *flags, "--mask_expand", "9"]) == 2
    assert cli.main(["tryon", "mask", *flags, "--kind", "lower"]) == 3
    assert cli.main(["tryon", "mask", *flags, "--parser", str(tmp_path)]) == 4


def test_only_the_mask_changes_and_the_png_says_so(models, shop, tmp_path):
    assert wear(models, shop, "--garment", shop["top"], "--mask", shop["mask"], "--cut_out", "true") == 0
    worn, before = np.asarray(Image.open(tmp_path / "worn.png")), np.asarray(Image.open(shop["me"]))
    mask = np.asarray(Image.open(shop["mask"])) > 0
    assert np.array_equal(worn[~mask], before[~mask]) and not np.array_equal(worn[mask], before[mask])
    record = read_png(tmp_path / "worn.png").record
    assert record is not None and record["garment"] == "top.png"


def test_a_garment_that_cannot_be_cut_out_is_named(models, shop, tmp_path, capsys):
    noise = np.random.default_rng(1).integers(0, 256, (80, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(shop["top"])
    assert wear(models, shop, "--garment", shop["top"], "--mask", shop["mask"], "--cut_out", "true", "--parser",
                models["parser"]) == 0  # fmt: skip
    assert f"note: {shop['top']} cannot be told from its background" in capsys.readouterr().err


def test_the_kind_of_a_garment_is_found_and_said(models, shop, tmp_path, capsys):
    dress = render_garment(random_garment(np.random.default_rng(9_000_001), "dress"), size=(160, 120))
    Image.fromarray(dress).save(shop["top"])
    flags = ["--garment", shop["top"], "--kind", "auto", "--mask", shop["mask"], "--parser", models["parser"]]
    assert wear(models, shop, *flags) == 0 and (tmp_path / "worn.png").is_file()
    assert f"note: {shop['top']}: taken for a dress" in capsys.readouterr().err
    outfit = json.dumps({"auto": shop["top"], "lower": shop["skirt"]})
    assert wear(models, shop, "--outfit", outfit, "--parser", models["parser"]) == 2
    assert "name the kinds of an outfit" in capsys.readouterr().err


@pytest.mark.parametrize(("fact", "file"), [("hidden", "me"), ("unlike", "top"), ("uncut", "top")])
def test_a_result_that_is_not_to_be_trusted_is_not_written(fact, file, models, shop, tmp_path, monkeypatch, capsys):
    atelier().sitter("3").image.save(shop["me"])
    atelier().catalog[5].image.save(shop["top"])
    monkeypatch.setattr("personagen.tryon.dress.facts_of", lambda *_: {fact: 1.5})
    flags = ["--garment", shop["top"], "--kind", "t-shirt", "--composed", "true"]
    before = sorted(path.name for path in tmp_path.iterdir())
    assert wear(models, shop, *flags) == 3
    told = capsys.readouterr().err
    assert f"{shop[file]} is the trouble" in told and "--force" in told and told.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert wear(models, shop, *flags, "--force", "true") == 0
    assert f"warning: {shop[file]} is the trouble" in capsys.readouterr().err and (tmp_path / "worn.png").is_file()


def test_a_garment_that_cannot_be_cut_out_is_not_laid_on_with_its_floor(models, shop, tmp_path, capsys):
    atelier().sitter("3").image.save(shop["me"])
    noise = np.random.default_rng(1).integers(0, 256, (80, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(shop["top"])
    assert wear(models, shop, "--garment", shop["top"], "--kind", "shirt") == 3
    told = capsys.readouterr().err
    assert f"{shop['top']} cannot be told from its background" in told and "--force" in told
    assert not (tmp_path / "worn.png").exists()
    assert wear(models, shop, "--garment", shop["top"], "--kind", "shirt", "--force", "true") == 0


def test_an_outfit_takes_a_mask_for_each_garment(models, shop, tmp_path, capsys):
    outfit = json.dumps({"upper": shop["top"], "lower": shop["skirt"]})
    below = np.zeros((160, 120), np.uint8)
    below[100:150, 30:90] = 255
    Image.fromarray(below).save(tmp_path / "below.png")
    masks = {"upper": shop["mask"], "lower": str(tmp_path / "below.png")}
    assert wear(models, shop, "--outfit", outfit, "--masks", json.dumps(masks), "--fast", "true") == 0
    worn, before = np.asarray(Image.open(tmp_path / "worn.png")), np.asarray(Image.open(shop["me"]))
    drawn = (np.asarray(Image.open(shop["mask"])) > 0) | (below > 0)
    changed = (worn != before).any(-1)
    assert not changed[~drawn].any() and changed[110:140, 40:80].mean() > 0.5 and changed[40:80, 40:80].mean() > 0.5
    strange = json.dumps({"dress": shop["mask"]})
    for flags, words in ((["--outfit", outfit, "--masks", strange], "--outfit does not name"),
                         (["--garment", shop["top"], "--masks", json.dumps(masks)], "names nothing"),
                         (["--outfit", outfit, "--mask", shop["mask"]], "give --masks")):  # fmt: skip
        assert wear(models, shop, *flags) == 2 and words in capsys.readouterr().err


def test_an_outfit_takes_found_masks(models, shop, tmp_path):
    outfit = json.dumps({"upper": shop["top"], "dress": shop["skirt"]})
    assert wear(models, shop, "--outfit", outfit, "--parser", models["parser"]) == 2
    assert wear(models, shop, "--outfit", json.dumps({"outer": shop["top"], "upper": shop["skirt"]}), "--parser",
                models["parser"]) == 0  # fmt: skip
    record = read_png(tmp_path / "worn.png").record
    assert record is not None and record["outfit"] == ["top.png", "skirt.png"]


def spoil(kind: str, shop: dict[str, str], tmp_path) -> None:
    """Put something unusable in the place of one of the files."""
    mask = np.zeros((160, 120), np.uint8)
    if kind == "damaged":
        whole = (tmp_path / "me.jpg").read_bytes()
        (tmp_path / "me.jpg").write_bytes(whole[: len(whole) // 2])
    elif kind == "huge":
        Image.new("1", (9000, 9000)).save(tmp_path / "top.png")
    elif kind == "animated text":
        (tmp_path / "top.png").write_text("GIF89a")
    elif kind == "other size":
        Image.fromarray(np.full((120, 160), 255, np.uint8)).save(tmp_path / "mask.png")
    elif kind == "empty":
        Image.fromarray(mask).save(tmp_path / "mask.png")
    elif kind == "full":
        Image.fromarray(mask + 255).save(tmp_path / "mask.png")
    elif kind.startswith("moving"):
        frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
        end = kind.rpartition(" ")[2]
        frames[0].save(tmp_path / "top.png", format=end, save_all=True, append_images=frames[1:])
    elif kind == "gif":
        Image.new("P", (20, 20)).save(tmp_path / "me.jpg", format="GIF")


@pytest.mark.parametrize(
    ("kind", "words"),
    [("damaged", "damaged"), ("huge", "pixels allowed"), ("animated text", "not a JPEG"), ("other size", "draw it"),
     ("empty", "marks nothing"), ("full", "marks everything"), ("gif", "not a JPEG"), ("moving GIF", "not a JPEG"),
     ("moving WEBP", "animated (2 frames)"), ("moving PNG", "animated (2 frames)")],
)  # fmt: skip
def test_bad_pictures_are_refused_and_nothing_is_written(kind, words, models, shop, tmp_path, capsys):
    spoil(kind, shop, tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert wear(models, shop, "--garment", shop["top"], "--mask", shop["mask"]) == 3
    told = capsys.readouterr().err
    assert words in told and len(told.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("mode", cases(["1", "RGBA", "CMYK"], slow=["L", "P", "LA", "I;16"]))
def test_pictures_of_every_mode_are_worn(mode, models, shop, tmp_path):
    name = "garment.jpg" if mode == "CMYK" else "garment.png"
    garment = Image.new("RGB", (30, 40), "white")
    garment.paste("navy", (5, 5, 25, 35))
    garment = garment.convert("L") if mode in ("LA", "I;16") else garment
    if mode == "I;16":
        Image.fromarray(np.asarray(garment).astype(np.uint16) * 200).save(tmp_path / name)
    else:
        garment.convert(mode).save(tmp_path / name)
    assert wear(models, shop, "--garment", str(tmp_path / name), "--mask", shop["mask"]) == 0


@pytest.mark.parametrize("picture", [Image.new("RGB", (60, 80), "teal"), Image.new("RGBA", (60, 80))])
@pytest.mark.parametrize("cut_out", ["true", "false"])
def test_a_garment_s_picture_with_nothing_on_it_is_refused(picture, cut_out, models, shop, capsys):
    picture.save(shop["top"])
    rest = ["--mask", shop["mask"], "--cut_out", cut_out]
    assert wear(models, shop, "--garment", shop["top"], *rest) == 3
    told = capsys.readouterr().err
    assert "nothing but one colour" in told and "give a photo" in told and told.count("\n") == 1
    assert not (Path(shop["folder"]) / "worn.png").exists()


def test_the_tiniest_pictures_are_worn(models, shop, tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    assert wear(models, shop, "--garment", str(tmp_path / "dot.png"), "--mask", shop["mask"]) == 0
    Image.new("RGB", (3, 2)).save(tmp_path / "me.jpg")
    Image.fromarray(np.array([[255, 255, 0], [255, 255, 0]], np.uint8)).save(tmp_path / "mask.png")
    assert wear(models, shop, "--garment", str(tmp_path / "dot.png"), "--mask", shop["mask"]) == 0
    assert Image.open(tmp_path / "worn.png").size == (3, 2)


@pytest.mark.parametrize(
    "place, words", [("me.jpg/worn.png", "not a folder"), ("x" * 240 + ".png", "bytes"), ("me.jpg", "ends in .png")]
)
@pytest.mark.parametrize("command", ["wear", "mask"])
def test_a_place_that_cannot_be_written_is_refused_before_any_work(command, place, words, shop, capsys):
    flags = ["--person", shop["me"], "--out", f"{shop['folder']}/{place}", "--parser", "nowhere"]
    garment = ["--garment", shop["top"]] if command == "wear" else []
    assert cli.main(["tryon", command, *flags, *garment]) in (2, 5)
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and len(list(Path(shop["folder"]).iterdir())) == 4


def test_a_mask_too_thin_to_change_anything_is_refused(models, shop, capsys):
    mask = np.zeros((160, 120), np.uint8)
    mask[80, 60] = 255
    Image.fromarray(mask).save(shop["mask"])
    assert wear(models, shop, "--garment", shop["top"], "--mask", shop["mask"], "--cut_out", "false") == 3
    assert "paint wider" in capsys.readouterr().err


def test_garment_and_outfit_exclude_each_other(models, shop):
    assert wear(models, shop, "--mask", shop["mask"]) == 2
    assert wear(models, shop, "--garment", shop["top"], "--outfit", "{'upper': 'x.png'}", "--mask", shop["mask"]) == 2
    assert wear(models, shop, "--garment", shop["top"], "--mask", shop["mask"], "--base.nothing", "1") == 2
    assert wear(models, shop, "--garment", shop["top"], "--mask", shop["mask"], "--base.base", "/nowhere") == 4


@pytest.mark.slow
def test_a_phone_photo_comes_back_upright_at_its_size_within_two_gib(tmp_path):
    sitting = random_sitting(HELDOUT_SEED + 3)
    render = render_person(sitting.body, sitting.outfit, sitting.scene, size=(252, 189), camera=sitting.camera, seed=1)
    mask = agnostic_mask(render, sitting.outfit[0].region, body=sitting.body, camera=sitting.camera)
    upright, exif = Image.fromarray(render.image).resize((3024, 4032)), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "phone.jpg", exif=exif, quality=90)
    Image.fromarray(mask).convert("L").resize((3024, 4032), Image.Resampling.NEAREST).save(tmp_path / "mask.png")
    Image.fromarray(render_garment(sitting.outfit[0], size=(256, 192))).save(tmp_path / "garment.png")
    code = "import sys; from apps import cli; from tests.peak import peak_kib;print(cli.main(sys.argv[1:]), peak_kib())"
    flags = [
        "--person",
        "phone.jpg",
        "--garment",
        "garment.png",
        "--mask",
        "mask.png",
        "--steps",
        "1",
        "--out",
        "w.png",
    ]
    done = subprocess.run([sys.executable, "-c", code, "tryon", "wear", *flags], cwd=tmp_path, text=True,
                          capture_output=True, check=True, env=os.environ | {"PYTHONPATH": os.getcwd()})  # fmt: skip
    code, peak = map(int, done.stdout.split()[-2:])
    assert code == 0 and peak < 2 * 2**20, done.stderr
    worn, marked = Image.open(tmp_path / "w.png"), np.asarray(Image.open(tmp_path / "mask.png")) > 0
    before = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "phone.jpg")))
    assert worn.size == (3024, 4032) and not worn.getexif()
    after = np.asarray(worn)
    assert np.array_equal(after[~marked], before[~marked]) and (after[marked] != before[marked]).mean() > 0.5


def test_training_and_measuring_from_the_command_line(models, tmp_path, capsys):
    root = viton(viton(tmp_path / "data", count=4), split="test", count=3)
    flags = ["--root", str(root), "--model", models["model"]]
    loop = "--loop.steps 2 --loop.batch_size 2 --loop.device cpu --loop.mixed_precision no --loop.ema_decay 0"
    flags += ["--height", "64", "--width", "48"]
    out = str(tmp_path / "run")
    assert cli.main(["tryon", "train", *flags, *loop.split(), "--preview_steps", "1", "--output_dir", out]) == 0
    assert cli.main(["tryon", "train", *flags, "--train", "lora", "--output_dir", out]) == 2
    figures = tmp_path / "figures"
    measured = ["--root", str(root), "--model", f"{out}/tryon", "--steps", "1", "--out", str(figures)]
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ViTModel(ViTConfig(image_size=32, patch_size=8, **sizes)).save_pretrained(tmp_path / "vit")
    save_file(lpips_weights("alex"), tmp_path / "alex.safetensors")
    backbone = ["--backbone", str(tmp_path / "vit"), "--lpips", str(tmp_path / "alex.safetensors")]
    assert cli.main(["tryon", "evaluate", *measured, *backbone]) == 0 and "ssim" in capsys.readouterr().out
    told = json.loads((figures / "figures.json").read_text())
    assert told["figures"]["identity"]["mean"] == 1 and told["figures"]["ssim"]["n"] == 3
    assert told["fid"] > 0 and "kid" in told and told["figures"]["lpips"]["n"] == 3
    assert (figures / "sheet.png").is_file() and len((figures / "cases.csv").read_text().splitlines()) == 4
    assert cli.main(["tryon", "evaluate", *measured, "--paired", "false", "--limit", "1"]) == 0
    assert not (figures / "sheet.png").exists()  # that of the other run is not left beside these figures
    assert cli.main(["tryon", "evaluate", *measured, "--ids", str(tmp_path / "none.txt")]) == 3
    for text in (b"", b"caf\xe9.jpg caf\xe9.jpg\n"):
        (tmp_path / "ids.txt").write_bytes(text)
        assert cli.main(["tryon", "evaluate", *measured, "--ids", str(tmp_path / "ids.txt")]) == 3
    assert cli.main(["tryon", "evaluate", *measured, "--out", str(tmp_path / "alex.safetensors")]) == 2
    assert cli.main(["tryon", "evaluate", *measured, "--limit", "0"]) == 2
    assert cli.main(["tryon", "evaluate", *measured, "--lpips", str(tmp_path / "none.safetensors")]) == 4
