"""Examples to click: shipped, of the atelier, and they fill what they are examples of."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from apps.page import draw, examples
from personagen.atelier.render import render_garment
from tests.place import ROOT

sys.path.append(str(ROOT / "benchmarks"))
visitor = pytest.importorskip("visitor", reason="the benchmarks are not here")


@pytest.fixture
def anna(address) -> Iterator[Any]:
    made = visitor.Visitor(address, timeout=60)
    yield made
    made.close()


def click(who: Any, elem_id: str, what: Any = "all") -> None:
    """Click an example; what follows the click happens as well."""
    (event,) = [one for one in who.events if [who.named[elem_id], "click"] in one["targets"]]
    for answer in who.ask(event["id"], [who.values[at] for at in event["inputs"]], event_data={"what": what}):
        who.take(event, answer)
    who.follow(event)


def test_all_that_is_named_is_shipped_and_small():
    names = [*examples.PEOPLE, *examples.GARMENTS, *examples.TAUGHT]
    assert len(examples.PEOPLE) == 2 and len(examples.GARMENTS) == 6
    assert sum((examples.SHIPPED / f"{name}.webp").stat().st_size for name in names) < 300_000
    assert sorted(path.stem for path in examples.SHIPPED.iterdir()) == sorted(names)


def test_what_is_shipped_is_what_the_atelier_draws():
    name = "t-shirt"
    with Image.open(examples.SHIPPED / f"{name}.webp") as shipped:
        there = np.asarray(shipped.convert("RGB"), float)
    drawn = render_garment(draw.GARMENTS[name], size=there.shape[:2])
    assert np.abs(there - drawn).mean() < 3


def test_a_person_and_a_garment_are_put_into_their_places(anna, someone):
    click(anna, "wear-people", "person-2")
    assert "person-2" in anna.read("wear-person")["path"] and "may be repainted" in anna.read("wear-state")
    click(anna, "wear-garments", "dress")
    assert "dress" in anna.read("wear-garment")["path"] and anna.read("wear-kind") == "dress"
    click(anna, "looks-people", "person-1")
    assert "person-1" in anna.read("looks-photo")["path"]


def test_words_and_tastes_fill_their_fields(anna):
    click(anna, "generate-examples", examples.PROMPTS[1])
    assert anna.read("generate-prompt") == examples.PROMPTS[1]
    click(anna, "looks-examples", "Red dresses, on the beach")
    assert anna.read("kinds") == ["dress"]


def test_the_subject_set_is_ready_to_be_learnt(anna):
    click(anna, "subject-examples")
    assert len(anna.read("subject-files")) == 6 and "6 of 6" in anna.read("subject-verdict")
    assert anna.read("subject-preset") == "person" and anna.read("subject-consent") is True


@pytest.mark.parametrize("wrong", ["/etc/passwd", "../person-1", 7, None, ["person-1"]])
def test_what_is_no_example_is_not_given(anna, wrong):
    with pytest.raises(RuntimeError):
        click(anna, "wear-people", wrong)
    assert not anna.read("wear-person")
