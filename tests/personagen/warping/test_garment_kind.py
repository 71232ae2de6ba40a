"""The kind of a garment by its photo: renders of held-out sittings, people who wear something, and what is close."""

import numpy as np
import pytest
import torch
from PIL import Image

from personagen.atelier.garment import random_garment
from personagen.atelier.render import render_garment
from personagen.person.body import Body
from personagen.person.parts import Part, region_of
from personagen.tryon.dress import Piece, in_order, with_kinds
from personagen.vocabulary import KINDS
from personagen.warping import garment_kind
from personagen.warping.garment_kind import FoundKind, features_of, kind_of
from personagen.warping.worn import NotWorn
from recsys.errors import ConfigError, ModelError


def drawn(kind: str, number: int) -> Image.Image:
    """A garment of a kind that nothing was fitted to."""
    spec = random_garment(np.random.default_rng(9_000_000 + number), kind)
    return Image.fromarray(render_garment(spec, size=(256, 192)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_region_of_drawn_garments_is_found(kind):
    found = [kind_of(drawn(kind, number)) for number in range(3)]
    assert sum(region_of(one.kind) == region_of(kind) for one in found) >= 2
    assert all(one.kind in KINDS and one.kind != one.nearly for one in found)


def test_what_is_nearly_as_likely_is_named(monkeypatch):
    chances = {"shirt": 0.5, "t-shirt": 0.3, "dress": 0.2}
    monkeypatch.setattr(garment_kind, "chances_of", lambda photo: np.array([chances.get(kind, 0.0) for kind in KINDS]))
    found = kind_of(Image.new("RGB", (8, 8)))
    assert found == FoundKind("shirt", "t-shirt")
    assert found.said() == "taken for a shirt; a t-shirt is nearly as likely"
    chances["t-shirt"] = 0.2
    assert kind_of(Image.new("RGB", (8, 8))).said() == "taken for a shirt"
    assert FoundKind("trousers").said() == "taken for trousers"


def wearing(**shares: float) -> Body:
    """Somebody of whom each part covers a share of the rows; joints are sure."""
    parts, row = np.zeros((100, 20), np.uint8), 0
    for name, share in {"HEAD": 0.1, "SKIN": 0.1, **shares}.items():
        parts[row : row + round(100 * share)] = Part[name]
        row += round(100 * share)
    return Body(parts, joints=np.ones((13, 3)))


def test_of_what_somebody_wears_the_largest_is_taken_and_the_rest_is_said():
    photo = Image.new("RGB", (20, 100))
    found = kind_of(photo, parser=lambda _: wearing(UPPER=0.3, LOWER=0.4))
    assert found.kind == "lower" and found.beside == ("a top",)
    assert found.said() == "taken for trousers, shorts or a skirt that somebody wears; a top is worn too"
    assert (
        kind_of(photo, parser=lambda _: wearing(OUTER=0.5)).said() == "taken for a jacket or coat that somebody wears"
    )
    with pytest.raises(NotWorn, match="garment alone"):
        kind_of(photo, parser=lambda _: wearing(SHOES=0.1))


def test_features_do_not_depend_on_where_the_garment_lies():
    shares = torch.zeros(1, 10, 96, 72)
    shares[:, 0] = 1
    moved = shares.clone()
    for picture, top, left in ((shares, 10, 8), (moved, 40, 30)):
        picture[:, 0, top : top + 40, left : left + 30] = 0
        picture[:, 1, top : top + 20, left : left + 30] = 1
        picture[:, 7, top + 20 : top + 40, left : left + 30] = 1
    assert torch.allclose(features_of(shares), features_of(moved), atol=1e-4)
    assert not torch.allclose(features_of(shares), features_of(shares.flip(2)), atol=0.1)
    nothing = torch.zeros(1, 10, 96, 72)
    nothing[:, 0] = 1
    assert torch.isfinite(features_of(nothing)).all()


def test_pieces_get_their_kinds_and_others_keep_theirs():
    pieces, found = with_kinds([Piece(drawn("dress", 1), "auto"), Piece(drawn("skirt", 1), "upper")])
    assert pieces[0].kind in KINDS and found[0] is not None and found[0].kind == pieces[0].kind
    assert pieces[1].kind == "upper" and found[1] is None
    alone = [Piece(drawn("skirt", 1), "auto")]
    assert in_order(alone) == alone
    with pytest.raises(ConfigError, match="auto"):
        in_order([*alone, Piece(drawn("skirt", 1), "upper")])


def test_a_damaged_layer_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(garment_kind.EMBEDDED, "garment", tmp_path)
    garment_kind._layer.cache_clear()
    with pytest.raises(ModelError, match="install the package again"):
        garment_kind._layer()
    garment_kind._layer.cache_clear()
