"""What the photo does not show of a figure follows a network that paints views; what it shows stays, to the bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from personagen.atelier.corpus import random_sitting
from personagen.corpora.renders import body_of_render
from personagen.embedded import EMBEDDED
from personagen.figure import complete as room
from personagen.figure.build import build_figure
from personagen.figure.complete import complete
from personagen.figure.completer import FILE, Completer, load_completer
from personagen.figure.evaluate import dressed_of, measured, truth_of
from personagen.figure.texels import STRAIGHT
from personagen.figure.turned import AZIMUTHS, turned
from personagen.models import load_tryon
from personagen.models.base import load_tryon_base
from personagen.tryon.config import BaseConfig
from recsys.errors import ModelError
from tests.personagen.sd15 import write_base

from .puppet import lights, sided_puppet

SIZE = (192, 144)


class Knows:
    """A network that knows another figure, of the same shape, and paints its views."""

    def __init__(self, before, truth):
        self.before, self.truth, self.size, self.asked = before, truth, SIZE, 0

    def __call__(self, front, guess, hidden, generator=None):
        azimuth, self.asked = AZIMUTHS[self.asked], self.asked + 1
        assert front == turned(self.before, 0, SIZE).picture and hidden.any()
        assert guess == turned(self.before, azimuth, SIZE).picture
        return turned(self.truth, azimuth, SIZE).view.image - turned(self.before, azimuth, SIZE).view.image


@pytest.fixture(scope="module")
def before():
    return sided_puppet()


def painted_behind(figure, colour):
    """The same figure with a back of another colour; the middle of the texture is the front."""
    texture = Image.new("RGB", figure.texture.size, colour)
    wide, tall = texture.size
    texture.paste(figure.texture.crop((wide // 4, 0, 3 * wide // 4, tall)), (wide // 4, 0))
    return replace(figure, texture=texture)


@pytest.mark.parametrize("colour", [(90, 67, 150), (108, 81, 180)])
def test_a_network_that_knows_the_truth_brings_the_figure_to_it(before, colour, monkeypatch):
    monkeypatch.setattr(room, "MOVED", 1e9)
    truth = painted_behind(before, colour)
    done, note = complete(before, Knows(before, truth))
    assert note is None and done.report["completed"] == len(AZIMUTHS)
    for azimuth in (180, 135, -135):
        true, old, new = (turned(one, azimuth, SIZE) for one in (truth, before, done))
        errors = [np.abs(one.view.image - true.view.image)[true.hidden].mean() for one in (old, new)]
        assert errors[1] < 0.2 * errors[0]  # light is averaged, also over the edge


def test_what_the_photo_shows_does_not_move_by_a_bit(before, monkeypatch):
    monkeypatch.setattr(room, "MOVED", 1e9)
    done, _ = complete(before, Knows(before, painted_behind(before, (60, 60, 120))))
    assert done.texture.tobytes() == before.texture.tobytes()
    for one, other in zip(before.layers, done.layers):
        assert (one.vertices == other.vertices).all() and (one.uv == other.uv).all()
        front = room._normals(one)[:, 2] > STRAIGHT
        assert other.light is not None and (other.light[front] == 1).all() and (other.light < 1).any()


def test_nothing_changes_where_the_network_changes_nothing(before):
    done, note = complete(before, Knows(before, before))
    assert note is None and done.texture.tobytes() == before.texture.tobytes()
    assert all(layer.light is None or (layer.light == 1).all() for layer in done.layers)


def test_a_change_that_spoils_a_garments_colour_is_left_out(before):
    truth = painted_behind(before, (20, 20, 20))
    done, note = complete(before, Knows(before, truth))
    assert note is not None and "left out" in note and done.report["colour moved"] > room.MOVED
    assert done.texture.tobytes() == before.texture.tobytes() and done.layers == before.layers


def test_models_of_stable_diffusions_structure_complete_figures(before, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "MOVED", 1e9)
    base = BaseConfig(str(write_base(tmp_path)), cross_attention="zero", variant="corrected", height=128, width=64)
    told = []
    paint = Completer(load_tryon_base(base), steps=2, samples=2)
    done, _ = complete(before, paint, generator=torch.Generator().manual_seed(0), tell=told.append)
    assert (lights(done) != 1).any()
    assert told == ["complete"]


def test_the_embedded_completer_is_laid_over_the_try_on_network_and_changes_it():
    plain, paint = load_tryon(), load_completer()
    assert paint.size == SIZE and not any("lora" in name for name, _ in paint.pipe.unet.named_parameters())
    own, other = plain.unet.state_dict(), paint.pipe.unet.state_dict()
    assert own.keys() == other.keys() and sum(not torch.equal(own[name], other[name]) for name in own) > 80
    assert sum(file.stat().st_size for file in EMBEDDED["view"].iterdir()) < 6e6


@pytest.mark.parametrize("fault", ["cut", "bytes", "other", "nan", "none"])
def test_a_completer_that_is_damaged_or_of_another_network_is_one_line(fault, tmp_path):
    whole = (EMBEDDED["view"] / FILE).read_bytes()
    file = tmp_path / FILE
    if fault in ("cut", "bytes"):
        file.write_bytes(whole[: len(whole) // 2] if fault == "cut" else b"{" + whole[1:])
    elif fault != "none":
        with safe_open(EMBEDDED["view"] / FILE, framework="pt") as opened:
            metadata = opened.metadata()
        tensors = load_file(EMBEDDED["view"] / FILE)
        name = next(iter(tensors))
        tensors[name] = tensors[name][..., :1] if fault == "other" else tensors[name] * float("nan")
        save_file({key: value.contiguous() for key, value in tensors.items()}, file, metadata=metadata)
    with pytest.raises(ModelError) as raised:
        load_completer(tmp_path)
    assert "\n" not in str(raised.value) and str(tmp_path) in str(raised.value)


@pytest.mark.slow
def test_the_embedded_completer_brings_a_person_of_the_atelier_nearer_to_the_truth():
    truth = truth_of(random_sitting(900_300))
    known = lambda picture: body_of_render(truth.views[0], truth.sitting.body, truth.sitting.camera)
    dressed, shape = dressed_of(truth, known)
    figure = build_figure(dressed, shape=shape)
    done, note = complete(figure, load_completer(), generator=torch.Generator().manual_seed(0))
    before, after = measured(figure, truth), measured(done, truth)
    assert note is None and after["psnr 180"] > before["psnr 180"] + 0.3
    assert abs(after["psnr 0"] - before["psnr 0"]) < 0.2 and after["iou 180"] == before["iou 180"]
    again, _ = complete(figure, load_completer(), generator=torch.Generator().manual_seed(0))
    assert (lights(again) == lights(done)).all()
