import itertools

import pytest
import torch

from personagen.styling.catalog import attribute_matrix
from personagen.styling.prompts import (
    Reason,
    Word,
    completes,
    concept_vectors,
    explain,
    ground,
    ground_ranking,
    in_a_line,
    scene_for,
    write_prompt,
)
from personagen.vocabulary import KINDS, REGION, SCENE_PHRASE, SCENES
from recsys.errors import ConfigError, DataError
from recsys.types import Ranking
from tests.personagen.styling.seam_parts import catalog

TASTE = tuple(
    Word(*word)
    for word in (
        ("colour", "red", 2.0),
        ("kind", "skirt", 1.5),
        ("scene", "snow", 1.2),
        ("kind", "sweater", 1.0),
        ("colour", "blue", 0.8),
        ("scene", "beach", 0.5),
        ("scene", "park", -0.4),
    )
)


@pytest.fixture(scope="module")
def space():
    """Embeddings with a known answer: the sum of an item's word vectors, off centre, with noise of the items' own."""
    found = catalog()
    attributes = attribute_matrix(found)
    generator = torch.Generator().manual_seed(0)
    words = torch.randn(len(attributes.columns), 24, generator=generator)
    noise = torch.randn(len(found) + 1, 24, generator=generator)
    embeddings = attributes.matrix @ words + 0.5 * noise + 3.0
    return found, attributes, embeddings, words


def test_concepts_read_the_words_of_items(space):
    found, attributes, embeddings, _ = space
    concepts = concept_vectors(embeddings, attributes)
    assert torch.allclose(concepts.vectors.norm(dim=1), torch.ones(len(concepts.words)), atol=1e-5)
    right = 0
    for item in range(1, len(found) + 1):
        best = {}
        for word in ground(embeddings[item][None], concepts):
            best.setdefault(word.slot, word.word)
        right += sum(best[slot] == word for slot, word in found.words(item).items())
    assert right / (4 * len(found)) >= 0.95


def test_draws_of_a_taste_are_read_as_that_taste(space):
    found, attributes, embeddings, _ = space
    concepts = concept_vectors(embeddings, attributes)
    liked = [
        item for item in range(1, 41) if found.words(item)["colour"] == "green" and found.words(item)["kind"] == "dress"
    ]
    words = ground(embeddings[liked], concepts)
    scores = [word.score for word in words]
    assert scores == sorted(scores, reverse=True)
    assert {(word.slot, word.word) for word in words[:2]} == {("colour", "green"), ("kind", "dress")}
    assert ground(embeddings[liked[::-1]], concepts)[0].score == pytest.approx(words[0].score, abs=1e-5)


def test_the_scale_of_generated_embeddings_does_not_matter(space):
    _, attributes, embeddings, _ = space
    concepts = concept_vectors(embeddings, attributes)
    near = ground(embeddings[3][None], concepts)
    far = ground((concepts.centre + 0.01 * (embeddings[3] - concepts.centre))[None], concepts)
    assert [(word.slot, word.word) for word in near] == [(word.slot, word.word) for word in far]


def test_rare_words_are_trusted_less(space):
    _, attributes, embeddings, _ = space
    concepts = concept_vectors(embeddings, attributes, shrink=3.0)
    support = attributes.matrix.sum(0)
    kept = [attributes.columns.index(f"{slot}={word}") for slot, word in concepts.words]
    assert torch.allclose(concepts.weight, support[kept] / (support[kept] + 3.0))


def test_concepts_refuse_what_does_not_fit(space):
    _, attributes, embeddings, _ = space
    with pytest.raises(ConfigError, match="39 item embeddings but 40 items"):
        concept_vectors(embeddings[:-1], attributes)
    same = attribute_matrix(catalog(), slots=[])
    with pytest.raises(ConfigError, match="no word tells"):
        concept_vectors(embeddings, same)
    with pytest.raises(ConfigError, match="draws >= 1, 24"):
        ground(torch.zeros(0, 24), concept_vectors(embeddings, attributes))


def test_rankings_are_read_by_their_words(space):
    found, attributes, *_ = space
    skirts = [item for item in range(1, 41) if found.words(item)["kind"] == "skirt"]
    ranking = Ranking(torch.tensor([[*skirts, 1, 2]]), torch.zeros(1, len(skirts) + 2))
    words = ground_ranking(ranking, attributes)
    assert (words[0].slot, words[0].word) == ("kind", "skirt") and words[0].score > 3
    assert next(word.score for word in words if word.word == "dress") < 0
    with pytest.raises(DataError, match="no item"):
        ground_ranking(Ranking(torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, 2)), attributes)


def test_prompt_is_the_grammar_of_the_captions():
    top = {"kind": "t-shirt", "colour": "red", "pattern": "striped", "scene": "beach"}
    prompt = write_prompt(
        top, TASTE, companion={"kind": "trousers", "colour": "blue", "pattern": "plain"}, scene="beach"
    )
    assert prompt.text == "a person wearing a red striped t-shirt and blue trousers on a beach"
    assert prompt.scene == "beach" and [words["kind"] for words in prompt.garments] == ["t-shirt", "trousers"]
    low = {"kind": "skirt", "colour": "blue", "pattern": "dotted"}
    assert write_prompt(low, TASTE).text == "a person wearing a red sweater and a blue dotted skirt in the snow"
    dress = {"kind": "dress", "colour": "orange", "pattern": "floral"}
    assert write_prompt(dress, TASTE, companion=top).text == "a person wearing an orange floral dress in the snow"


def test_prompt_takes_from_the_taste_what_the_item_lacks():
    known = write_prompt({"kind": "dress"}, TASTE, person="a sks person").text
    assert known == "a sks person wearing a red dress in the snow"
    assert write_prompt({"kind": "dress"}, TASTE).text == "a person wearing a red dress in the snow"
    assert write_prompt({"kind": "hat", "colour": "green"}, TASTE).garments[1]["kind"] == "skirt"
    assert write_prompt({"kind": "dress"}, ()).text == "a person wearing a dress in a studio"
    assert write_prompt({"kind": "dress", "scene": "park"}, ()).scene == "park"


def test_scenes_alternate_among_those_that_are_meant():
    scenes = [scene_for({"kind": "dress"}, TASTE, variant=variant) for variant in range(4)]
    assert scenes == ["snow", "beach", "snow", "beach"]
    with pytest.raises(ConfigError, match="'moon'.*studio"):
        write_prompt({"kind": "dress"}, TASTE, scene="moon")


def test_companions_cover_the_other_half_and_suit_the_scene():
    top = {"kind": "shirt"}
    assert completes({"kind": "trousers"}, top, "snow") and completes({"kind": "shorts"}, top, "beach")
    assert not completes({"kind": "shorts"}, top, "snow")
    assert not completes({"kind": "dress"}, top, "park") and not completes({"kind": "shirt"}, top, "park")
    assert not completes(top, {"kind": "dress"}, "park") and not completes(top, {"kind": "hat"}, "park")


@pytest.mark.parametrize(("kind", "scene"), list(itertools.product(KINDS, SCENES)))
def test_every_prompt_dresses_the_whole_body(kind, scene):
    prompt = write_prompt({"kind": kind, "colour": "red"}, (Word("scene", scene, 1.0),))
    regions = [REGION[words["kind"]] for words in prompt.garments]
    assert regions in (["upper", "lower"], ["dress"])
    assert kind in [words["kind"] for words in prompt.garments]
    assert prompt.text.startswith("a person wearing ") and prompt.text.endswith(SCENE_PHRASE[scene])
    if scene == "snow" and kind not in ("skirt", "shorts"):
        assert not {"skirt", "shorts"} & {words["kind"] for words in prompt.garments}


def test_reasons_name_the_nearest_past_items_and_the_words_meant(space):
    found, _, embeddings, _ = space
    taste = (Word("colour", "red", 2.0), Word("kind", "dress", 1.0), Word("pattern", "plain", 0.01))
    reasons = explain(1, [40, 2, 39, 2, 1], embeddings - embeddings[1:].mean(0), taste, found)
    past = [reason for reason in reasons if reason.source == "past"]
    assert past[0].item == 2 and past[0].text == "a red striped t-shirt" and past[0].score > past[1].score
    assert 1 not in [reason.item for reason in past] and len({reason.item for reason in past}) == 2
    assert [reason.text for reason in reasons if reason.source == "concept"] == ["colour red"]
    assert explain(1, [1], embeddings, (), found) == ()


def test_what_is_not_completed_is_not_spoken_of():
    anchor = {"kind": "shirt", "colour": "red"}
    assert write_prompt(anchor, (), scene="park", complete=False).text == "a person wearing a red shirt in a park"
    both = write_prompt(anchor, (), companion={"kind": "skirt", "colour": "blue"}, scene="park", complete=False)
    assert both.text == "a person wearing a red shirt and a blue skirt in a park"


def test_reasons_read_as_a_line():
    reasons = [
        Reason("past", "a red shirt", 0.5, 1),
        Reason("past", "a teal skirt", 0.4, 2),
        Reason("concept", "scene snow", 1.4),
        Reason("note", "worn with item 3, blue trousers", item=3),
    ]
    assert in_a_line(reasons) == (
        "like a red shirt and a teal skirt chosen before; suits a taste for snow; worn with item 3, blue trousers"
    )
    assert in_a_line(reasons[3:]) == "worn with item 3, blue trousers" and in_a_line([]) == ""
