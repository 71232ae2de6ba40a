"""The parser: it learns, is saved small, reads photos of any size, and SegFormer's labels are merged."""

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from personagen.embedded import EMBEDDED
from personagen.person.masks import agnostic_mask, guarded, layers_from_parts
from personagen.person.network import ParserSizes, PersonParser, levels_of, load_backbone
from personagen.person.parser import (
    _likeliest,
    load_parser,
    parse,
    parsed_at,
    save_parser,
)
from personagen.person.parts import Part, split_skin
from personagen.pretrain import ParserConfig, PretrainConfig, pretrain
from personagen.pretrain.parser import dice_loss
from personagen.pretrain.parser_data import change, hide, recolour
from personagen.training.config import LoopConfig
from recsys.errors import ConfigError, DataError, ModelError
from tests.personagen.figures import standing
from tests.personagen.pretrain.tools import run_whole_and_halted

LABELS = ["null", "hair", "skin", "t-shirt", "pants", "shoes"]
PAINT = np.array([[230, 230, 230], [60, 30, 10], [240, 190, 150], [200, 20, 20], [20, 20, 200], [5, 5, 5]], np.uint8)


def person(shift: int = 0) -> np.ndarray:
    """Labels (96, 64) of a standing figure."""
    values = np.zeros((96, 64), np.uint8)
    left = 24 + shift
    values[6:12, left + 3 : left + 13] = 1
    values[12:20, left + 4 : left + 12] = 2
    values[20:50, left : left + 16] = 3
    values[50:84, left + 1 : left + 15] = 4
    values[84:90, left : left + 16] = 5
    return values


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    (root / "people" / "photos").mkdir(parents=True)
    (root / "people" / "parsing").mkdir()
    (root / "people" / "labels.json").write_text(json.dumps(LABELS))
    for i in range(10):
        values = person(shift=3 * (i % 5) - 6)
        Image.fromarray(PAINT[values]).save(root / "people" / "photos" / f"{i:04d}.jpg", quality=95)
        Image.fromarray(values).save(root / "people" / "parsing" / f"{i:04d}.png")
    return root


def settings(photos, out, *, steps=100, **changes) -> PretrainConfig:
    config = PretrainConfig(
        stage="parser", output_dir=str(out), height=48, width=32,
        loop=LoopConfig(steps=steps, batch_size=4, learning_rate=1e-2, warmup_steps=2, ema_decay=0.8,
                        mixed_precision="no", device="cpu", evaluate_every=100, preview_every=100, checkpoint_every=20,
                        heldout_rows=4),
        parser=ParserConfig(str(photos), garments=0, blocks=5, widths=(8, 16, 24), groups=4),
    )  # fmt: skip
    return replace(config, **changes)


@pytest.mark.slow
def test_the_stage_learns_goes_on_and_writes_a_parser(photos, tmp_path):
    first = run_whole_and_halted(partial(settings, photos), tmp_path, at=25, left=75)
    assert first[-1].losses["loss"] < 0.5 * first[0].losses["loss"]
    assert first[-1].metrics is not None and first[-1].metrics["iou_ten"] > 0.5
    parser = load_parser(tmp_path / "whole" / "parser")
    photo = Image.fromarray(PAINT[person()])
    found = parser(photo).parts
    assert found.shape == (96, 64) and found.dtype == np.uint8
    assert (found[25:45, 28:36] == Part.UPPER).mean() > 0.9
    mask = parser(photo).mask("upper")
    assert mask[28:45, 28:36].mean() > 0.8 and not mask[84:].any()


def test_settings_and_data_are_refused(photos, tmp_path):
    with pytest.raises(DataError, match="labels.json"):
        list(pretrain(settings(tmp_path, tmp_path / "a")))
    with pytest.raises(ConfigError, match="multiples"):
        pretrain(settings(photos, tmp_path, parser=ParserConfig(str(photos), widths=(8, 15), groups=4)))
    with pytest.raises(ConfigError, match="1..16"):
        pretrain(settings(photos, tmp_path, parser=ParserConfig(str(photos), blocks=17)))
    with pytest.raises(ConfigError, match="3 resolutions"):
        list(pretrain(settings(photos, tmp_path / "b", parser=ParserConfig(str(photos), 0, blocks=5, widths=(8, 8)))))
    no_file = ParserConfig(str(photos), 0, backbone=str(tmp_path / "none"), blocks=5, widths=(8, 16, 24))
    with pytest.raises(ModelError, match="parser.backbone"):
        list(pretrain(settings(photos, tmp_path / "c", parser=no_file)))


def test_photos_of_garments_are_labelled_by_the_cut_out_and_trained_on(photos, tmp_path):
    root = tmp_path / "images"
    shutil.copytree(photos, root)
    (root / "garments" / "images").mkdir(parents=True)
    rows = ["file,label,sender_id,kids"]
    for i, label in enumerate(("T-Shirt", "Pants", "Outwear", "Dress", "Shirt", "Hat")):
        picture = np.full((96, 72, 3), 225, np.uint8)
        picture[20:80, 18:54] = (30 * i, 40, 160)
        if label == "Shirt":
            picture[:] = 128  # nothing to cut out
        Image.fromarray(picture).save(root / "garments" / "images" / f"{i}.jpg")
        rows.append(f"{i}.jpg,{label},4,False")
    (root / "garments" / "garments.csv").write_text("\n".join(rows) + "\n")
    parser = ParserConfig(str(root), garments=0.9, blocks=5, widths=(8, 16, 24), groups=4)
    config = settings(root, tmp_path / "out", parser=parser)
    list(pretrain(replace(config, loop=replace(config.loop, steps=2))))
    parts = np.load(tmp_path / "out" / "garments-parts.npy")
    assert [sorted(set(one.ravel().tolist())) for one in parts] == [[0, p] for p in (3, 4, 6, 5)]
    assert (parts[0][20:30, 12:20] == Part.UPPER).mean() > 0.9 and (parts[0] == Part.UPPER).mean() < 0.5
    assert load_parser(tmp_path / "out" / "parser") is not None


def test_the_backbone_is_efficientnet_lite0_with_its_norms_folded():
    assert [levels_of(n) for n in (1, 3, 5, 15, 16)] == [[0], [0, 2], [0, 2, 4], [0, 2, 4, 10, 14], [0, 2, 4, 10, 15]]
    model, random = PersonParser(ParserSizes(5, (8, 16, 24), 4, 32, 24)), torch.Generator().manual_seed(0)
    weights, x = {}, torch.rand(2, 3, 32, 24, generator=random) * 2 - 1

    def convolved(x, kernel, norm, shape, *, stride=1, groups=1):
        """As TensorFlow pads, and batch normalisation in full."""
        weights[f"{kernel}.weight"] = w = torch.randn(shape, generator=random) / shape[1]
        for name in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{norm}.{name}"] = torch.rand(shape[0], generator=random) + 0.1
        b = lambda name: weights[f"{norm}.{name}"][:, None, None]
        pads = []
        for side in (x.shape[3], x.shape[2]):
            total = max((-(-side // stride) - 1) * stride + shape[2] - side, 0)
            pads += [total // 2, total - total // 2]
        y = torch.nn.functional.conv2d(torch.nn.functional.pad(x, pads), w, None, stride, 0, 1, groups)
        return (y - b("running_mean")) / (b("running_var") + 1e-3).sqrt() * b("weight") + b("bias")

    y = convolved(x, "_conv_stem", "_bn0", (32, 3, 3, 3), stride=2).clamp(0, 6)
    for i, (a, b, e, k, s) in enumerate(
        [(32, 16, 1, 3, 1), (16, 24, 6, 3, 2), (24, 24, 6, 3, 1), (24, 40, 6, 5, 2), (40, 40, 6, 5, 1)]
    ):
        z, block = y, f"_blocks.{i}."
        if e > 1:
            z = convolved(z, block + "_expand_conv", block + "_bn0", (a * e, a, 1, 1)).clamp(0, 6)
        z = convolved(z, block + "_depthwise_conv", block + "_bn1", (a * e, 1, k, k), stride=s, groups=a * e).clamp(
            0, 6
        )
        z = convolved(z, block + "_project_conv", block + "_bn2", (b, a * e, 1, 1))
        y = y + z if a == b else z
    load_backbone(model, weights)
    found = torch.nn.functional.relu6(model.stem(x))
    for block in model.blocks:
        found = block(found)
    assert torch.allclose(found, y, atol=1e-3 * float(y.abs().max()))
    weights.pop("_bn0.bias")
    with pytest.raises(ModelError, match="_bn0.bias"):
        load_backbone(model, weights)


def test_any_size_is_parsed_at_its_own_size():
    torch.manual_seed(0)
    model = PersonParser(ParserSizes(3, (8, 16), 4, 32, 24)).eval()
    for size in ((24, 32), (30, 90), (901, 1203)):
        found = parse(model, Image.new("RGB", size, "red"))
        assert found.parts.shape == size[::-1] and found.parts.max() < len(Part)
        assert found.might is not None and found.faint is not None
        assert found.might.shape == (3, *size[::-1]) and found.might.dtype == bool
        assert found.faint.shape == size[::-1] and (found.faint | ~found.might.any(0)).all()


def test_parts_end_at_the_edges_of_the_photo_and_a_lost_hand_is_still_possible():
    photo = np.full((240, 160, 3), 220, np.uint8)
    photo[40:, 53:] = (30, 60, 150)  # clothes, whose border is none of the cells of 8 that the network tells
    photo[120:128, 80:88] = (230, 180, 140)  # a hand that the network hardly sees
    true = np.zeros((240, 160), bool)
    true[40:, 53:] = True
    cells = torch.nn.functional.avg_pool2d(torch.from_numpy(true)[None, None].float(), 8)
    soft = torch.nn.functional.avg_pool2d(cells, 3, 1, 1, count_include_pad=False)
    shares = torch.zeros(1, len(Part), *soft.shape[2:])
    shares[:, Part.UPPER], shares[:, Part.BACKGROUND] = soft[:, 0], 1 - soft[:, 0]
    shares[:, Part.SKIN, 15, 10], shares[:, Part.UPPER, 15, 10] = 0.3, 0.7
    found = parsed_at(shares, Image.fromarray(photo))
    assert ((found.parts == Part.UPPER) != true).mean() < 0.005
    assert found.might is not None
    assert found.might[1, 124, 84] and not found.might[1, 200].any()


def test_outlines_are_smooth_on_photos_that_are_larger_than_they_are_parsed():
    inside = lambda scale: 12.5 * scale - np.hypot(*(np.mgrid[: 40 * scale, : 30 * scale] + 0.5 - 15 * scale))
    shares = np.full((len(Part), 400, 300), 0.01, np.float32)
    shares[Part.UPPER] = 0.5 + (inside(10) / 20).clip(-0.4, 0.4)
    shares[Part.LOWER] = 1 - shares[Part.UPPER]
    large, small = (_likeliest(torch.from_numpy(shares), size).numpy() for size in ((1600, 1200), (400, 300)))
    assert set(np.unique(large)) == {Part.UPPER, Part.LOWER} and np.array_equal(small == Part.UPPER, inside(10) > 0)
    steps = np.kron(small == Part.UPPER, np.ones((4, 4), bool)) ^ (inside(40) > 0)
    assert ((large == Part.UPPER) ^ (inside(40) > 0)).sum() < 0.1 * steps.sum()


def test_saved_it_is_small_and_damage_is_named(tmp_path):
    model = PersonParser(ParserSizes())
    folder = save_parser(model, tmp_path / "parser")
    assert (folder / "model.safetensors").stat().st_size < 6e6
    weights = load_file(folder / "model.safetensors")
    weights.pop("head.bias")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match="head.bias"):
        load_parser(folder)
    with pytest.raises(ModelError, match="personagen pretrain"):
        load_parser(tmp_path / "none")


def test_labels_move_with_their_picture():
    values = torch.from_numpy(person())[None].repeat(6, 1, 1).long()
    x = values[:, None].float().repeat(1, 3, 1, 1) / 10
    moved, labels, _ = change(x, values, generator=torch.Generator().manual_seed(0))
    assert labels.shape == values.shape and not torch.equal(labels, values)
    assert moved.shape == x.shape and moved.abs().max() <= 1
    bright = (moved - moved.amin((1, 2, 3), keepdim=True)).mean(1)
    for i in range(6):
        assert torch.corrcoef(torch.stack([bright[i].flatten(), labels[i].flatten().float()]))[0, 1] > 0.9


def test_a_segformer_folder_is_read_and_another_refused(tmp_path, monkeypatch):
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    names = ["Background", "Hat", "Hair", "Sunglasses", "Upper-clothes", "Skirt", "Pants", "Dress", "Belt",
             "Left-shoe", "Right-shoe", "Face", "Left-leg", "Right-leg", "Left-arm", "Right-arm", "Bag",
             "Scarf"]  # fmt: skip

    def write(folder, labels):
        torch.manual_seed(0)
        SegformerForSemanticSegmentation(SegformerConfig(
            hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 1, 1],
            decoder_hidden_size=8, id2label=dict(enumerate(labels)), label2id={v: k for k, v in enumerate(labels)},
        )).save_pretrained(folder)  # fmt: skip

    write(tmp_path / "clothes", names)
    seen, plain = [], SegformerForSemanticSegmentation.forward
    monkeypatch.setattr(SegformerForSemanticSegmentation, "forward", lambda self, x: seen.append(x) or plain(self, x))
    parts = load_parser(tmp_path / "clothes")(Image.new("RGB", (40, 60), "blue")).parts
    assert parts.shape == (60, 40) and parts.max() < len(Part)
    blue = [-0.485 / 0.229, -0.456 / 0.224, (1 - 0.406) / 0.225]  # as ImageNet's pictures are normalised
    assert seen[0][0, :, 9, 9].tolist() == pytest.approx(blue, abs=1e-5)
    write(tmp_path / "streets", [f"thing {i}" for i in range(18)])
    with pytest.raises(ModelError, match="ATR"):
        load_parser(tmp_path / "streets")


@pytest.mark.skipif(not EMBEDDED["parser"].is_dir(), reason="the parser's weights are not in this checkout")
def test_the_embedded_parser_loads():
    assert load_parser()(Image.new("RGB", (30, 40))).parts.shape == (40, 30)


def test_a_coat_hangs_lower_than_a_top_and_bare_feet_are_spared():
    parts = standing(lower=90)
    parts[90:122, 40:46] = Part.SKIN
    top, coat = layers_from_parts(parts, kind="upper"), layers_from_parts(parts, kind="outer")
    assert not top.garment[60:].any() and coat.garment[60:79, 38:58].all() and not coat.others[60:79].any()
    skirt = layers_from_parts(parts, kind="lower")
    assert skirt.identity[118:122, 40:46].all() and skirt.limbs[95, 42] and not skirt.limbs[121, 42]


def test_what_may_be_a_face_a_hand_or_a_shoe_is_spared():
    parts = standing(lower=112)
    parts[112:120, 38:58] = Part.SHOES
    might = np.zeros((3, 128, 96), bool)
    might[0, 8:24, 40:56] = True  # a chin below the head
    might[1, 20:60] = True  # skin far from head and hands
    might[2, 108:120, 38:58] = True
    faint = np.zeros((128, 96), bool)
    for kind in ("upper", "lower", "dress", "outer"):
        layers = layers_from_parts(parts, kind=kind, skin=split_skin(parts))
        mask, bare = agnostic_mask(guarded(layers, parts, might, faint)), agnostic_mask(layers)
        assert not mask[might[0] | might[2]].any() and not mask[115:].any()
        assert (mask & bare).sum() > 0.8 * bare.sum()
    assert guarded(layers, np.zeros_like(parts), might, faint) is layers


def test_the_mask_does_not_grow_over_what_cannot_be_ruled_out():
    parts = standing()
    faint, layers = np.zeros((128, 96), bool), layers_from_parts(parts, kind="upper")
    faint[40:50, 50:70] = True  # half on the top, half beside it, where the mask would grow
    might = np.zeros((3, 128, 96), bool)
    wide, narrow = (agnostic_mask(guarded(layers, parts, might, place)) for place in (np.zeros_like(faint), faint))
    rim = 60 + round(0.012 * 52)  # so near to the top the mask may grow all the same
    assert wide[42, 61] and not narrow[40:50, rim:].any() and narrow[40:50, 50:rim].all()
    assert (narrow <= wide).all() and (wide ^ narrow)[:, :60].sum() == 0


def test_the_dice_loss_is_zero_where_all_is_right_and_ignores_what_is_not_there():
    target = torch.from_numpy(person())[None].long()
    right = torch.nn.functional.one_hot(target, 10).movedim(-1, 1).float() * 100
    assert dice_loss(right, target) < 1e-4
    assert 0.9 < dice_loss(-right, target) <= 1


def test_parts_are_recoloured_each_by_itself_but_never_skin():
    target = torch.full((8, 24, 24), int(Part.BACKGROUND))
    target[:, :, 8:16], target[:, :, 16:] = int(Part.UPPER), int(Part.SKIN)
    x = torch.full((8, 3, 24, 24), 0.2)
    changed = recolour(x, target, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(changed[:, :, :, 20], x[:, :, :, 20])  # two pixels from the border of the change
    upper = changed[:, :, 12, 12]
    assert 0 < (upper != 0.2).any(1).sum() < 8 and torch.allclose(changed[:, :, 2, 12], upper)


def test_half_of_the_pictures_have_one_plain_rectangle():
    x = torch.rand(64, 3, 24, 18, generator=torch.Generator().manual_seed(1))
    hidden = hide(x, generator=torch.Generator().manual_seed(0)) != x
    assert 12 < hidden.flatten(1).any(1).sum() < 40
    for one in hidden.any(1):
        rows, columns = one.any(1), one.any(0)
        assert (one == rows[:, None] & columns).all() and rows.sum() <= 9 and columns.sum() <= 7


@pytest.mark.parametrize(
    ("share", "told", "uncertain"),
    [(0.01, False, False), (0.03, False, True), (0.27, False, True), (0.33, True, True)],
)
@pytest.mark.parametrize("part", [Part.HEAD, Part.SKIN, Part.SHOES])
def test_a_part_is_possible_from_three_tenths_on_and_cannot_be_ruled_out_from_a_fiftieth(
    part, share, told, uncertain, monkeypatch
):
    """0.3 and 0.02 of the probability: all over a photo of one colour, where no edge and no colour says more."""
    monkeypatch.setattr("personagen.person.parser.by_own_colours", lambda shares, picture: shares)
    shares = torch.zeros(1, len(Part), 6, 5)
    shares[:, part], shares[:, Part.UPPER] = share, 1 - share
    body = parsed_at(shares, Image.new("RGB", (50, 60), "gray"))
    assert body.might is not None and body.faint is not None and (body.parts == Part.UPPER).all()
    at = [Part.HEAD, Part.SKIN, Part.SHOES].index(part)
    assert [plane.all() for plane in body.might] == [told and i == at for i in range(3)]
    assert not (np.delete(body.might, at, 0)).any()
    assert body.faint.all() == body.faint.any() == uncertain
