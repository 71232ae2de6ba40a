"""The text encoder's stage: its loss against plain cross-entropies, its wrong captions, and that colours are learnt."""

import pytest
import torch
import torch.nn.functional as F

from personagen.pretrain import pretrain
from personagen.pretrain.text import confuse, contrast, load_text
from tests.personagen.pretrain.tools import make_corpus, tiny


def test_the_contrast_is_the_mean_of_two_cross_entropies():
    generator = torch.Generator().manual_seed(0)
    images = F.normalize(torch.randn(5, 8, generator=generator), dim=-1)
    texts = F.normalize(torch.randn(10, 8, generator=generator), dim=-1)
    same, scale = torch.eye(5, 10), torch.tensor(7.0)
    logits, target = 7.0 * images @ texts.T, torch.arange(5)
    plain = (F.cross_entropy(logits, target) + F.cross_entropy(logits[:, :5].T, target)) / 2
    assert torch.allclose(contrast(images, texts, same=same, scale=scale), plain)


def test_equal_captions_share_the_target():
    images = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), dim=-1)
    same = torch.ones(2, 2)
    assert torch.allclose(contrast(images, images, same=same, scale=torch.tensor(50.0)), torch.tensor(2.0).log())


def test_a_wrong_caption_differs_in_words_of_one_group():
    caption = "a person wearing a red striped shirt and blue trousers in a park"
    generator = torch.Generator().manual_seed(0)
    wrong = {confuse(caption, generator=generator) for _ in range(200)}
    assert caption not in wrong
    assert "a person wearing a blue striped shirt and red trousers in a park" in wrong  # exchanged
    for text in wrong:
        changed = [(a, b) for a, b in zip(caption.split(), text.split(), strict=True) if a != b]
        assert 1 <= len(changed) <= 2 and not {"park", "person"} & {a for a, _ in changed}
    assert confuse("an old boat", generator=generator) == "an old boat"


@pytest.mark.slow
def test_colours_are_learnt_and_the_encoder_loads(tmp_path):
    corpus = make_corpus(tmp_path / "corpus", rows=40)
    config = tiny("text", tmp_path, corpora={str(corpus): 1.0}, steps=80, batch_size=12, learning_rate=3e-3,
                  evaluate_every=80, preview_every=80, checkpoint_every=80)  # fmt: skip
    steps = list(pretrain(config))
    assert sum(step.losses["found"] for step in steps[-20:]) / 20 > 0.9
    encoder, tokenizer = load_text(tmp_path / "text" / "text")
    with torch.no_grad():
        ids = tokenizer(["a red square", "a blue square"], padding="max_length", return_tensors="pt").input_ids
        red, blue = F.normalize(encoder(ids).pooler_output, dim=-1)
    assert red @ blue < 0.5
