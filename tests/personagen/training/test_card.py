"""Cards of what the stages write: a head that hubs can read, and no path of this machine."""

import pytest
from huggingface_hub import ModelCard

from personagen.training.card import KINDS, public_name, with_card
from personagen.training.config import LoopConfig


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_head_and_what_loads_it(kind, tmp_path):
    base = tmp_path / "my models" / "inpainting.safetensors"
    folder = with_card(tmp_path / kind, LoopConfig(steps=5), base=str(base))
    card = ModelCard.load(folder / "README.md")
    head = card.data.to_dict()
    assert head["library_name"] in ("diffusers", "transformers", "personagen") and head["license"] == "other"
    assert head["base_model"] == "inpainting" and head.get("pipeline_tag") == KINDS[kind].task
    assert KINDS[kind].load in card.text and "| steps | 5 |" in card.text
    assert str(tmp_path) not in card.content


def test_models_are_named_as_a_card_may(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert public_name("owner/model") == "owner/model"
    (tmp_path / "owner" / "model").mkdir(parents=True)
    assert public_name("owner/model") == "model"  # a folder here
    assert public_name("/home/me/my sd/v1 5") == "v1-5"
    assert public_name("embedded") == "personagen-embedded"
