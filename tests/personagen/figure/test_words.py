"""What a prompt asks of a figure: pose, place, view and light, and what was not understood."""

import pytest

from personagen.figure.poses import AS_PHOTO, POSES
from personagen.figure.turntable import LIGHTS
from personagen.figure.words import LIGHT_WORDS, POSE_WORDS, SCENE_WORDS, Staging, read_prompt, scene_named
from personagen.vocabulary import SCENES
from recsys.errors import ConfigError, DataError


@pytest.mark.parametrize(("prompt", "pose", "scene", "view", "light"), [
    ("a woman walking in the park at sunset", "walking", "park", None, "warm"),
    ("standing on the beach, arms raised, seen from behind", "standing", "beach", 180.0, None),
    ("hands on her hips on a city street at night", "hands on hips", "night city", None, None),
    ("with both arms outstretched in the snow, soft light", "arms out", "snow", None, "soft"),
    ("He waves; three-quarter view, dim light", "waving", None, 45.0, "dim"),
    ("a city street", AS_PHOTO, "street", None, None),
    ("", AS_PHOTO, None, None, None),
])  # fmt: skip
def test_pose_place_view_and_light_are_found(prompt, pose, scene, view, light):
    found = read_prompt(prompt)
    assert (found.pose, found.scene, found.view, found.light) == (pose, scene, view, light)


def test_what_is_not_understood_is_said_and_small_words_are_not():
    found = read_prompt("a man walking through the park in a red velvet coat, and waving")
    assert found.used == ("walking", "park")
    assert found.unused == ("through", "red", "velvet", "coat", "waving")
    assert "velvet" in found.note and "walking" in found.note


def test_the_longest_phrase_counts():
    assert read_prompt("in the city at night").scene == "night city"
    assert read_prompt("in the city").scene == "street"


def test_what_a_prompt_says_no_to_is_not_done():
    found = read_prompt("not walking, without the beach")
    assert (found.pose, found.scene) == (AS_PHOTO, None) and found.used == ()
    assert read_prompt("not sitting").pose == AS_PHOTO


@pytest.mark.parametrize("word", ["sitting", "kneeling", "lying", "jumps", "running", "dancing"])
def test_poses_that_the_rig_cannot_take_are_refused(word):
    with pytest.raises(DataError, match=word) as caught:
        read_prompt(f"a woman {word} on the beach")
    assert "walking" in str(caught.value)


def test_every_word_leads_to_something_that_exists():
    assert set(POSE_WORDS) == set(POSES) - {AS_PHOTO}
    assert set(SCENE_WORDS) == set(SCENES) and set(LIGHT_WORDS) == set(LIGHTS)
    for name in SCENES:
        assert scene_named(name) == name and read_prompt(name).scene == name
    for name in LIGHTS:
        assert read_prompt(f"{name} light").light == name


def test_an_unknown_scene_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="moon") as caught:
        scene_named("moon")
    assert "beach" in str(caught.value)


def test_without_words_there_is_no_note():
    assert Staging().note == ""
