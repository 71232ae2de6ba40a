"""Looks as figures: what is known of a render is used, what cannot be made is said, files lie beside the pictures."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from personagen.atelier.corpus import random_sitting
from personagen.atelier.render import render_person
from personagen.atelier.trace import portrait
from personagen.corpora.renders import body_of_render
from personagen.person.body import Body
from personagen.styling import figures
from personagen.styling.figures import figure_of_look
from personagen.styling.looks import write_looks
from personagen.styling.studio import Studio
from personagen.styling.stylist import Look
from recsys.errors import DataError
from tests.personagen.figure.puppet import lights, puppet


@pytest.fixture(scope="module")
def rendered():
    """A rendered person in a t-shirt, and what the renderer knows of them."""
    sitting = random_sitting(8)
    camera = portrait(sitting.body.height)
    render = render_person(sitting.body, sitting.outfit, "studio", size=(384, 288), camera=camera)
    return Image.fromarray(render.image), body_of_render(render, sitting.body, camera)


def test_an_atelier_look_becomes_a_figure_by_the_renderer_s_own_joints(rendered):
    image, body = rendered
    figure = figure_of_look(image, body, "t-shirt", lambda photo: body)
    assert "t-shirt" in [layer.name for layer in figure.layers] and figure.skeleton is not None
    assert figure.report["front iou"] > 0.93
    assert all(layer.bones is not None for layer in figure.layers)


def test_a_look_is_completed_with_its_own_noise(rendered):
    image, body = rendered
    seen = []

    class Darker:
        size: tuple[int, int] = (96, 72)

        def __call__(self, front, guess, hidden, generator=None):
            seen.append(torch.rand(1, generator=generator).item())
            return np.full((*self.size, 3), -0.02)

    one, other, plain = (
        figure_of_look(image, body, "t-shirt", lambda photo: body, paint, seed)
        for paint, seed in ((Darker(), 3), (Darker(), 3), (None, 3))
    )
    assert seen[0] == seen[5] and len(seen) == 10
    assert (lights(one) == lights(other)).all() and one.report["completed"] == 5
    assert (lights(one) < lights(plain)).any()


def test_a_photo_that_no_figure_can_be_made_of_is_refused(rendered):
    image, body = rendered
    doubtful = np.array(body.joints)
    doubtful[:, 2] = 0.3
    with pytest.raises(DataError, match="whole person"):
        figure_of_look(image, Body(body.parts, doubtful, known=body.known), "t-shirt", lambda photo: body)
    with pytest.raises(DataError, match="no joints"):
        figure_of_look(image, Body(body.parts, None, known=body.known), "t-shirt", lambda photo: body)


def look(**more) -> Look:
    return Look(Image.new("RGB", (30, 40)), "tryon", 1, 1.0, "a person", (), 0, 0.1, **more)


def test_figures_lie_beside_their_pictures_and_the_list_names_them(tmp_path):
    catalog = Studio().source.catalog
    made = [look(figure=puppet()), look()]
    for written in write_looks(made, tmp_path / "looks", history=[2], catalog=catalog):
        assert written.look.figure is None  # it is on the disk
    listed = json.loads((tmp_path / "looks" / "looks.json").read_text())["looks"]
    assert listed[0]["figure"] == "01-tryon-item1.glb" and "figure" not in listed[1]
    assert (tmp_path / "looks" / "01-tryon-item1.glb").read_bytes()[:4] == b"glTF"
    assert not (tmp_path / "looks" / "02-tryon-item1.glb").exists()


def test_a_look_without_figure_says_why(monkeypatch, rendered):
    def refuse(*given):
        raise DataError("the person sits; give one who stands")

    monkeypatch.setattr(figures, "figure_of_look", refuse)
    studio = Studio()
    found = studio._turned(look(), replace(studio.source.sitter("0")))
    assert found.figure is None and "the person sits" in found.reasons[-1].text
