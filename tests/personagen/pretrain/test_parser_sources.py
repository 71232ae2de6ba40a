"""More to learn from for the parser: what a teacher is sure of, renders, garments pasted over people."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from personagen.person.network import ParserSizes, PersonParser
from personagen.person.parser import save_parser
from personagen.person.parts import Part
from personagen.pretrain import ParserConfig, pretrain
from personagen.pretrain.parser import dice_loss
from personagen.pretrain.parser_data import IGNORED, recolour
from personagen.pretrain.parser_sources import paste, source_shares
from recsys.errors import ConfigError, DataError
from tests.personagen.person.test_parser import photos, settings  # noqa: F401


def whole(part: Part, *, box: tuple[int, int, int, int], value: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture (3, 48, 32) and its parts: a box of one part on an empty ground."""
    top, left, bottom, right = box
    x, parts = torch.zeros(3, 48, 32), torch.zeros(48, 32, dtype=torch.long)
    x[:, top:bottom, left:right], parts[top:bottom, left:right] = value, int(part)
    return x, parts


def test_a_garment_is_pasted_over_what_is_worn_and_below_the_head():
    person, worn = whole(Part.UPPER, box=(10, 6, 34, 26), value=-0.5)
    worn[10:14, 12:20] = int(Part.HEAD)
    garment, cloth = whole(Part.UPPER, box=(2, 2, 22, 22), value=1.0)
    x, parts = paste((person[None], worn[None]), (garment[None], cloth[None]),
                     generator=torch.Generator().manual_seed(0))  # fmt: skip
    shown = (x[0] > 0.9).all(0)
    assert shown.sum() > 0.4 * (worn == int(Part.UPPER)).sum() and (parts[0][shown] == int(Part.UPPER)).all()
    assert (parts[0] == int(Part.HEAD)).sum() == 32 and torch.equal(worn[10:14, 12:20], parts[0][10:14, 12:20])
    assert torch.equal(x[0][:, ~shown], person[:, ~shown]) and not (person > 0.9).any()


def test_nobody_is_given_what_they_do_not_wear():
    person, worn = whole(Part.LOWER, box=(10, 6, 34, 26), value=-0.5)
    garment, cloth = whole(Part.UPPER, box=(2, 2, 22, 22), value=1.0)
    x, parts = paste((person[None], worn[None]), (garment[None], cloth[None]), generator=torch.Generator())
    assert torch.equal(x[0], person) and torch.equal(parts[0], worn)


def test_pixels_that_are_ignored_count_for_nothing():
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn(2, len(Part), 8, 8, generator=generator), torch.zeros(2, 8, 8, dtype=torch.long)
    target[:, 4:] = int(Part.UPPER)
    some = target.clone()
    some[:, :, 5:] = IGNORED
    assert torch.allclose(dice_loss(logits, some), dice_loss(logits[..., :5], target[..., :5]))
    changed = recolour(torch.zeros(2, 3, 8, 8), some, generator=generator)
    assert torch.isfinite(changed).all()


def test_shares_leave_the_rest_to_labelled_photos():
    assert source_shares({"garments": 0.2, "renders": 0.0}) == {"people": 0.8, "garments": 0.2}
    with pytest.raises(ConfigError, match=r"1\.20 in all"):
        source_shares({"garments": 0.7, "unlabelled": 0.5})


def test_the_stage_learns_from_every_source(photos, tmp_path):  # noqa: F811
    root = tmp_path / "images"
    shutil.copytree(photos, root)
    (root / "people" / "unlabelled").mkdir()
    for file in sorted((root / "people" / "photos").glob("*.jpg"))[:3]:
        shutil.copy(file, root / "people" / "unlabelled")
    torch.manual_seed(0)
    save_parser(PersonParser(ParserSizes(5, (8, 16, 24), 4, 48, 32)), tmp_path / "teacher")
    parser = ParserConfig(str(root), garments=0, unlabelled=0.4, sure=0.15, renders=0.3, render_rows=2,
                          parser_dir=str(tmp_path / "teacher"), blocks=5, widths=(8, 16, 24), groups=4)  # fmt: skip
    config = settings(root, tmp_path / "out", parser=parser)
    list(pretrain(replace(config, loop=replace(config.loop, steps=2))))
    taught, exact = (np.load(tmp_path / "out" / f"{name}-parts.npy") for name in ("unlabelled", "renders"))
    assert taught.shape == (3, 48, 32) and {IGNORED} < set(np.unique(taught).tolist())
    assert exact.shape == (2, 48, 32) and {int(Part.HEAD), int(Part.SHOES)} < set(np.unique(exact).tolist())
    assert IGNORED not in exact
    none = replace(parser, images_root=str(photos))
    with pytest.raises(DataError, match=r"parser\.unlabelled to 0"):
        list(pretrain(settings(photos, tmp_path / "none", parser=none)))
