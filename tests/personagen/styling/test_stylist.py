import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from personagen.person.parts import Part
from personagen.provenance import read_png
from personagen.styling import stylist as looks_of
from personagen.styling.catalog import FolderCatalog
from personagen.styling.config import StyleConfig
from personagen.styling.looks import write_looks
from personagen.styling.planner import diverse, seed_for
from personagen.styling.stylist import Stylist
from personagen.vocabulary import REGION, SCENE_ALONE
from personagen.warping.worn import NotWorn
from recsys.errors import ConfigError, DataError
from recsys.models.popularity import Popularity, PopularityConfig
from tests.personagen.styling import seam_parts

HISTORY = [3, 9, 14, 22]
QUICK = StyleConfig(tryon_steps=2, scene_steps=2, pool=12)


@pytest.fixture(scope="module")
def stylist():
    catalog = seam_parts.catalog()
    return Stylist(seam_parts.recommender(catalog), catalog, seam_parts.tryon(), seam_parts.text2image())


@pytest.fixture(scope="module")
def person():
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 255, (64, 48, 3), dtype=np.uint8))


def make(stylist, person, config=QUICK, **settings):
    return list(stylist(HISTORY, person, body=seam_parts.body(), config=config, **settings))


def test_looks_come_best_first_then_scenes(stylist, person):
    looks = make(stylist, person)
    assert [look.kind for look in looks] == ["tryon"] * 4 + ["scene"] * 2
    for kind in ("tryon", "scene"):
        group = [look for look in looks if look.kind == kind]
        assert [look.score for look in group] == sorted((look.score for look in group), reverse=True)
        assert len({look.item for look in group}) == len(group)
    assert not {look.item for look in looks} & set(HISTORY)
    assert looks[0].image.size == person.size and looks[4].image.size == (48, 64)
    assert all(look.settings["Steps"] == "2" for look in looks)
    assert looks[4].prompt.startswith("a person wearing") and any(
        reason.source == "past" for reason in looks[4].reasons
    )


def test_outside_the_mask_the_person_is_untouched(stylist, person):
    mask = seam_parts.upper_mask("t-shirt")
    assert mask is not None
    for look in make(stylist, person, scenes=0):
        assert (np.asarray(look.image)[~mask] == np.asarray(person)[~mask]).all()


def test_kinds_without_a_mask_are_passed_over_and_it_is_said(stylist, person):
    looks = make(stylist, person, scenes=0)
    kinds = {stylist.catalog.words(look.item)["kind"] for look in looks}
    assert kinds <= {"t-shirt", "shirt", "dress"}
    places = [chosen.item for chosen in stylist.plan(HISTORY, 36, config=replace(QUICK, diversity=0.0)).wear]
    better = places[: places.index(looks[-1].item)]
    before = [item for item in better if stylist.catalog.words(item)["kind"] in ("trousers", "skirt")]
    notes = [reason.text for look in looks for reason in look.reasons if reason.source == "note"]
    assert sum(int(note.split()[0]) for note in notes) == len(before) > 0
    assert all("no mask for" in note for note in notes)


def test_a_picture_of_somebody_in_other_garments_gives_way_to_the_next_item(stylist, person, monkeypatch):
    image, body = person, seam_parts.body()
    plain = list(stylist(HISTORY, image, 3, body=body, scenes=0, config=QUICK))
    wearable = lambda kind: kind in REGION and body.wears(kind)
    plan, cut = stylist.plan(HISTORY, 3, wearable=wearable, scenes=0, config=QUICK), looks_of.cut_from_photos
    wrong = stylist.catalog[plan.wear[1].item].image

    def read(pieces, *inputs, **settings):
        if pieces[0].image is wrong:
            raise NotWorn("the person in this photo wears a dress")
        return cut(pieces, *inputs, **settings)

    monkeypatch.setattr(looks_of, "cut_from_photos", read)
    looks = list(stylist(HISTORY, image, 3, body=body, scenes=0, config=QUICK))
    items = [plan.wear[0].item, plan.wear[2].item, plan.spare[0].item]
    assert [look.item for look in looks] == items and [look.item for look in plain] == [one.item for one in plan.wear]
    assert looks[0].image.tobytes() == plain[0].image.tobytes()
    assert f"instead of item {plan.wear[1].item}: the person" in looks[2].reasons[-1].text

    def none(pieces, *inputs, **settings):
        raise NotWorn("the person in this photo wears a dress")

    monkeypatch.setattr(looks_of, "cut_from_photos", none)
    with pytest.raises(NotWorn):
        list(stylist(HISTORY, image, 2, body=body, scenes=0, config=QUICK))


def test_a_small_pool_is_widened_until_enough_can_be_worn(stylist):
    plan = stylist.plan(HISTORY, 5, wearable=lambda kind: kind == "dress", config=StyleConfig(pool=1))
    assert [stylist.catalog.words(chosen.item)["kind"] for chosen in plan.wear] == ["dress"] * 5
    with pytest.raises(DataError, match="none of the 36 items can be worn.*dress, shirt, skirt"):
        stylist.plan(HISTORY, 1, wearable=lambda kind: False)


def test_same_seed_same_pictures_whatever_the_batch(stylist, person):
    one = make(stylist, person, seed=5, k=3, scenes=1)
    again = make(stylist, person, seed=5, k=3, scenes=1)
    assert all(a.image.tobytes() == b.image.tobytes() and a.seed == b.seed for a, b in zip(one, again, strict=True))
    batched = make(stylist, person, seed=5, k=3, scenes=1, config=replace(QUICK, batch_size=3))
    for a, b in zip(one, batched, strict=True):
        assert (a.item, a.seed, a.prompt) == (b.item, b.seed, b.prompt)
        assert np.abs(np.asarray(a.image, int) - np.asarray(b.image, int)).max() <= 1
    fewer = make(stylist, person, seed=5, k=2, scenes=1)
    seeds = {(look.kind, look.item): look.seed for look in one}
    assert all(seeds.get((look.kind, look.item), look.seed) == look.seed for look in fewer)
    other = make(stylist, person, seed=6, k=1, scenes=1)
    assert not {look.seed for look in one} & {look.seed for look in other}


def test_seeds_belong_to_run_user_and_item():
    seeds = {seed_for(*key) for key in itertools.product((0, 1), ("a", "b"), (1, 2), ("tryon", "scene"))}
    assert len(seeds) == 16 and all(0 <= seed < 2**32 for seed in seeds)
    assert seed_for(0, "a", 1, "tryon") == 3363968237  # pictures of earlier versions can be made again


def test_the_first_look_does_not_wait_for_the_others(stylist, person):
    calls = []
    hook = stylist.tryon.unet.register_forward_hook(lambda *_: calls.append(1))
    try:
        looks = stylist(HISTORY, person, body=seam_parts.body(), config=QUICK)
        assert not calls
        next(looks)
        assert len(calls) == 2
        looks.close()
        assert len(calls) == 2
    finally:
        hook.remove()


def test_diversity_trades_score_for_difference():
    scores = torch.tensor([1.0, 0.9, 0.8, 0.2])
    likeness = torch.eye(4)
    likeness[0, 1] = likeness[1, 0] = 1.0
    assert diverse(scores, likeness, 2, diversity=0.0) == [0, 1]
    assert diverse(scores, likeness, 2, diversity=0.5) == [0, 2]
    assert diverse(scores, likeness, 9, diversity=0.5) == [0, 1, 2, 3]
    assert diverse(torch.ones(3), torch.eye(3), 2, diversity=0.3) == [0, 1]


def test_any_recommender_will_do(person):
    catalog = seam_parts.catalog()
    popular = Popularity(PopularityConfig(n_items=40)).fit([np.array([1, 2, 3, 33, 34]), np.array([33, 34, 1])])
    stylist = Stylist(popular, catalog, seam_parts.tryon(), seam_parts.text2image())
    looks = make(stylist, person, k=2, scenes=1, config=replace(QUICK, diversity=0.0))
    assert [look.item for look in looks[:2]] == [1, 33]
    assert looks[2].prompt.startswith("a person wearing")


def test_taste_follows_the_history(stylist):
    plans = [stylist.plan(history, config=QUICK) for history in ([1, 2, 3], [40, 39, 38])]
    assert plans[0].taste != plans[1].taste
    assert plans[0] == stylist.plan([0, 0, 1, 2, 3], config=QUICK)


def test_scenes_differ_and_say_where_their_words_come_from(stylist):
    plan = stylist.plan(HISTORY, scenes=4, config=QUICK)
    notes = [reason for scene in plan.scenes for reason in scene.chosen.reasons if reason.source == "note"]
    companions = [reason.item for reason in notes]
    assert companions == [item for scene in plan.scenes for item in scene.outfit[1:]]
    shown = [scene.chosen.item for scene in plan.scenes]
    assert len(set(companions)) == len(companions) and len(set(shown)) == 4
    for chosen, prompt in ((scene.chosen, scene.prompt) for scene in plan.scenes):
        assert [reason.text for reason in chosen.reasons if reason.text.startswith("scene")] == [
            f"scene {prompt.scene}"
        ]
        said = {words["colour"] for words in prompt.garments}
        assert stylist.catalog.words(chosen.item)["colour"] in said


def test_bad_input_gets_one_clear_line(stylist, person):
    with pytest.raises(DataError, match="history is empty"):
        stylist.plan([0, 0])
    with pytest.raises(DataError, match="item 41; items are 1 to 40"):
        stylist.plan([1, 41])
    with pytest.raises(DataError, match="all 40 items"):
        stylist.plan(range(1, 41))
    assert stylist.plan(range(1, 41), 1, config=StyleConfig(exclude_seen=False)).wear
    with pytest.raises(ConfigError, match="k = 0 and scenes = 0"):
        next(stylist(HISTORY, person, 0, scenes=0))
    with pytest.raises(ConfigError, match="body"):
        next(stylist(HISTORY, person))
    with pytest.raises(ConfigError, match="no person"):
        next(stylist(HISTORY, scenes=0))
    with pytest.raises(ConfigError, match="text-to-image"):
        next(Stylist(stylist.recommender, stylist.catalog)(HISTORY))
    with pytest.raises(ConfigError, match="diversity is 1.5"):
        StyleConfig(diversity=1.5)
    with pytest.raises(ConfigError, match="draws is 0"):
        StyleConfig(draws=0)


def test_recommender_and_catalogue_must_agree(stylist, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("file,kind,colour\na.png,dress,red\n")
    with pytest.raises(ConfigError, match="40 items and the catalogue 1"):
        Stylist(stylist.recommender, FolderCatalog(tmp_path))


def write(stylist, person, out, looks=None, **settings):
    if looks is None:
        looks = stylist(HISTORY, person, body=seam_parts.body(), k=2, scenes=1, config=QUICK)
    return write_looks(looks, out, history=HISTORY, catalog=stylist.catalog, title="User 7", person=person, **settings)


def test_a_folder_of_looks_is_whole(stylist, person, tmp_path):
    out = tmp_path / "new" / "looks"
    seen = []
    for written in write(stylist, person, out, run={"seed": 0}):
        seen.append(written)
        assert written.path.is_file() and not out.exists()
    names = [written.path.name for written in seen]
    assert sorted(file.name for file in out.iterdir()) == sorted([*names, "looks.json", "sheet.png"])
    assert [file.name for file in out.parent.iterdir()] == ["looks"]
    manifest = json.loads((out / "looks.json").read_text())
    assert [look["file"] for look in manifest["looks"]] == names and manifest["run"] == {"seed": 0}
    assert [row["item"] for row in manifest["history"]] == HISTORY
    first, look = manifest["looks"][0], seen[0].look
    assert first["score"] == look.score and first["seed"] == look.seed and first["why"][0]["source"] == "past"
    assert first["seconds"] == round(look.seconds, 3)
    found = read_png(out / names[2])
    assert found.parameters is not None and found.parameters.prompt == seen[2].look.prompt
    assert found.parameters.settings["Seed"] == str(seen[2].look.seed)
    assert found.parameters.settings["Sampler"] == "DDIM"
    assert found.record is not None and found.record["item"] == seen[2].look.item
    assert "torch" in found.record["versions"]


def test_a_second_run_gives_the_same_bytes_and_replaces_the_first(stylist, person, tmp_path):
    out = tmp_path / "looks"
    list(write(stylist, person, out))
    before = {file.name: file.read_bytes() for file in out.iterdir() if file.suffix == ".png"}
    list(write(stylist, person, out))
    assert before == {file.name: file.read_bytes() for file in out.iterdir() if file.suffix == ".png"}
    assert [file.name for file in tmp_path.iterdir()] == ["looks"]


def test_a_failure_leaves_nothing_half_written(stylist, person, tmp_path):
    out = tmp_path / "looks"
    list(write(stylist, person, out))
    before = {file.name: file.read_bytes() for file in out.iterdir()}

    def failing():
        yield from stylist(HISTORY, person, body=seam_parts.body(), k=1, scenes=0, config=QUICK)
        raise DataError("the third picture is damaged")

    with pytest.raises(DataError, match="third"):
        list(write(stylist, person, out, failing()))
    stopped = write(stylist, person, out)
    next(stopped)
    stopped.close()
    with pytest.raises(DataError, match="no look"):
        list(write(stylist, person, tmp_path / "other", iter(())))
    assert before == {file.name: file.read_bytes() for file in out.iterdir()}
    assert [file.name for file in tmp_path.iterdir()] == ["looks"]


def test_a_folder_with_other_files_is_not_replaced(stylist, person, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="other files"):
        next(write(stylist, person, tmp_path))
    with pytest.raises(ConfigError, match="is a file"):
        next(write(stylist, person, tmp_path / "photo.jpg"))
    assert [file.name for file in tmp_path.iterdir()] == ["photo.jpg"]
    (tmp_path / "empty").mkdir()
    list(write(stylist, person, tmp_path / "empty"))
    assert (tmp_path / "empty" / "looks.json").is_file()


def test_metadata_can_be_left_out(stylist, person, tmp_path):
    list(write(stylist, person, tmp_path / "looks", metadata=False))
    for file in (tmp_path / "looks").glob("*.png"):
        found = read_png(file)
        assert found.parameters is None and found.record is None
    assert json.loads((tmp_path / "looks" / "looks.json").read_text())["looks"][0]["prompt"]


def test_scenes_show_whoever_is_dressed_where_that_is_asked_for(stylist, person):
    asked = []
    paint = stylist.text2image

    class Listening:
        def __call__(self, prompt, **settings):
            asked.append(prompt)
            return paint(prompt, **settings)

        def __getattr__(self, name):
            return getattr(paint, name)

    own = Stylist(stylist.recommender, stylist.catalog, stylist.tryon, Listening())
    parts = np.zeros((64, 48), np.uint8)
    parts[8:60, 14:34] = Part.UPPER
    body = replace(seam_parts.body(), parts=parts)
    set_in = lambda body: list(own(HISTORY, person, 0, body=body, config=replace(QUICK, sitter_in_scenes=True)))
    looks = set_in(body)
    assert [look.kind for look in looks] == ["scene"] * 2 and set(asked) <= set(SCENE_ALONE.values())
    for look in looks:
        assert look.prompt.startswith("a person wearing") and REGION[own.catalog.words(look.item)["kind"]] != "lower"
        assert look.settings["Size"] == f"{look.image.width}x{look.image.height}"
    assert [look.image.tobytes() for look in looks] == [look.image.tobytes() for look in set_in(body)]
    asked.clear()
    set_in(seam_parts.body())  # nobody is seen in this one
    make(own, person, k=0, scenes=1)
    assert all(prompt.startswith("a person wearing") for prompt in asked)
