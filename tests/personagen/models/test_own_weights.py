"""Weights of one's own, every way people keep them: folder, single file, hub id, and what lies over them."""

import gzip
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from personagen.models import load_text2image
from personagen.models.base import load_tryon_base
from personagen.models.config import OwnWeights, own_of
from personagen.models.single_file import open_single
from personagen.models.tokenizers import read_tokenizer
from personagen.tryon.config import BaseConfig
from recsys.errors import ConfigError, ModelError
from tests.cases import cases
from tests.personagen import checkpoints
from tests.personagen.subject.parts import paint


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Folder and file of a family, each written once."""
    place, done = tmp_path_factory.mktemp("kept"), {}

    def write(family: str) -> tuple[Path, Path]:
        if family not in done:
            file = place / f"{family}.safetensors"
            prediction: dict[str, Any] = {"prediction": "v_prediction"} if family == "sd2" else {}
            checkpoints.write_file(family, file, **prediction)
            done[family] = (checkpoints.write_folder(family, place / family, **prediction), file)
        return done[family]

    return write


def same(first: Any, second: Any) -> bool:
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("family", cases(["sd1"], slow=["sd2", "sdxl"]))
def test_a_single_file_is_the_folder_it_was_made_from(kept, family):
    folder, file = kept(family)
    own = OwnWeights(tokenizer=str(folder), prediction="v_prediction" if family == "sd2" else None)
    one, two = load_text2image(folder), load_text2image(file, own=own)
    names = ["unet", "vae", "text_encoder", *(["text_encoder_2"] if family == "sdxl" else [])]
    assert type(one) is type(two) and all(same(getattr(one, name), getattr(two, name)) for name in names)
    for name in names[2:]:
        a, b = (getattr(pipe, name).config for pipe in (one, two))
        assert (a.hidden_act, a.num_attention_heads) == (b.hidden_act, b.num_attention_heads)
    kept_apart = {"sample_size", "_name_or_path", "_diffusers_version", "_class_name"}
    for part in ("unet", "vae"):
        a, b = (dict(getattr(pipe, part).config) for pipe in (one, two))
        wrong = {key for key in a if key not in kept_apart and str(a[key]).strip("[]()") != str(b[key]).strip("[]()")}
        assert not wrong - {"attention_head_dim", "transformer_layers_per_block"}, wrong
    for key, value in one.scheduler.config.items():
        assert key.startswith("_") or two.scheduler.config[key] == value, key
    first, second = (paint(pipe.to(torch.float64), "a photo of a red dog") for pipe in (one, two))
    np.testing.assert_allclose(first, second, atol=1e-4)  # weights lie elsewhere in memory, which rounds otherwise


def test_half_of_a_file_and_another_families_are_refused_by_name(kept, tmp_path):
    folder, file = kept("sd1")
    own, tensors = OwnWeights(tokenizer=str(folder)), load_file(file)
    wrong = {
        "has no autoencoder": {name: value for name, value in tensors.items() if not name.startswith("first_stage")},
        "has no text encoder": {name: value for name, value in tensors.items() if not name.startswith("cond_stage")},
        "lacks some of the model's tensors": {n: v for n, v in tensors.items() if not n.endswith("out.2.bias")},
        "it lacks": {"a": torch.zeros(1)},
        "final_layer_norm.bias": {n: v for n, v in tensors.items() if not n.endswith("final_layer_norm.bias")},
    }
    for says, content in wrong.items():
        save_file(content, tmp_path / "part.safetensors")
        with pytest.raises(ModelError, match=says):
            load_text2image(tmp_path / "part.safetensors", own=own)
    (tmp_path / "part.safetensors").write_text("no weights")
    with pytest.raises(ModelError, match="cannot be read"):
        load_text2image(tmp_path / "part.safetensors", own=own)
    with pytest.raises(ModelError, match="there is no model at"):
        load_text2image(tmp_path / "nowhere.safetensors", own=own)
    with pytest.raises(ModelError, match="pickled"):
        load_text2image(tmp_path / "model.ckpt")
    checkpoints.write_inpainting("sd1", tmp_path / "inpainting")
    with pytest.raises(ModelError, match="takes 9 channels"):
        load_text2image(tmp_path / "inpainting.safetensors", own=own)


def test_stable_diffusion_2_asks_what_it_predicts_unless_it_says(kept, tmp_path):
    folder, file = kept("sd2")
    with pytest.raises(ModelError, match="--prediction v_prediction"):
        load_text2image(file, own=OwnWeights(tokenizer=str(folder)))
    found = open_single(file)
    assert found.family == "sd2" and found.predicts("epsilon") == "epsilon"
    shapes, metadata = found.shapes, {"modelspec.prediction_type": "v"}
    assert type(found)(file, shapes, metadata).predicts(None) == "v_prediction"
    assert type(found)(file, {**shapes, "v_pred": ()}, {}).predicts(None) == "v_prediction"
    assert open_single(kept("sd1")[1]).predicts(None) == "epsilon"


def test_words_come_from_a_folder_or_from_the_published_file(kept, tmp_path, monkeypatch):
    folder, file = kept("sd1")
    monkeypatch.setattr("personagen.models.tokenizers._installed", lambda: None)
    with pytest.raises(ModelError, match="--tokenizer FOLDER.*open_clip_torch"):
        load_text2image(file)
    with pytest.raises(ModelError, match="there is no tokenizer in"):
        load_text2image(file, own=OwnWeights(tokenizer=str(tmp_path)))
    for source in (folder, folder / "tokenizer"):
        found = read_tokenizer(source, kind="openclip", length=16, rows=700)
        assert found.model_max_length == 16 and found.pad_token == "!"
    with pytest.raises(ModelError, match="words and the model 5"):
        read_tokenizer(folder, kind="clip", length=16, rows=5)
    published = tmp_path / "bpe_simple_vocab_16e6.txt.gz"
    with gzip.open(published, "wt", encoding="utf-8") as stream:
        stream.write('"bpe_simple_vocab_16e6.txt#version: 0.2\nd o\ndo g</w>\n')
    found = read_tokenizer(published, kind="clip", length=16, rows=516)
    assert found("a dog").input_ids == [514, 64 + 256, 513, 515]  # a, with its word's end, is the 65th letter
    monkeypatch.setattr("personagen.models.tokenizers._installed", lambda: published)
    assert len(read_tokenizer(None, kind="clip", length=16, rows=516)) == 516
    published.write_text("nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        read_tokenizer(published, kind="clip", length=16, rows=516)


@pytest.mark.parametrize("form", ["folder", "pipeline", "published", "bare", "diffusers"])
def test_another_autoencoder_from_everywhere(kept, tmp_path, form):
    folder, _ = kept("sd1")
    torch.manual_seed(5)
    other = checkpoints.vae("sd1")
    other.save_pretrained(tmp_path / "own" / "vae")
    sources = {"folder": tmp_path / "own" / "vae", "pipeline": tmp_path / "own"}
    if form in ("published", "bare"):
        prefix = "first_stage_model." if form == "published" else ""
        tensors = {name: value.contiguous() for name, value in checkpoints.vae_tensors(other, prefix).items()}
        sources[form] = tmp_path / "vae.safetensors"
        save_file(tensors, sources[form])
    elif form == "diffusers":
        sources[form] = tmp_path / "own" / "vae" / "diffusion_pytorch_model.safetensors"
    pipe = load_text2image(folder, own=OwnWeights(vae=str(sources[form])))
    assert same(pipe.vae, other) and pipe.vae.config.scaling_factor == 0.18215


def test_an_autoencoder_that_does_not_fit_is_named(kept, tmp_path):
    folder, file = kept("sd1")
    with pytest.raises(ModelError, match="there is no autoencoder at"):
        load_text2image(folder, own=OwnWeights(vae=str(tmp_path / "vae.safetensors")))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_text2image(folder, own=OwnWeights(vae=str(tmp_path)))
    save_file({"a": torch.zeros(1)}, tmp_path / "vae.safetensors")
    with pytest.raises(ModelError, match="holds no autoencoder"):
        load_text2image(folder, own=OwnWeights(vae=str(tmp_path / "vae.safetensors")))
    pruned = {name: value for name, value in load_file(file).items() if not name.startswith("first_stage")}
    save_file(pruned, tmp_path / "pruned.safetensors")
    own = OwnWeights(vae=str(folder), tokenizer=str(folder))
    assert same(load_text2image(tmp_path / "pruned.safetensors", own=own).vae, load_text2image(folder).vae)


def test_a_hub_id_asks_the_network_only_where_it_may(monkeypatch, kept, tmp_path):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: list[bool] = []

    def snapshot(name: str, *, local_files_only: bool, **settings: Any) -> str:
        asked.append(local_files_only)
        if local_files_only or name == "owner/away":
            raise LocalEntryNotFoundError("nothing\nhere")
        return str(kept("sd1")[0])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(ModelError, match="there is no model at owner/name.*--allow_download true"):
        load_text2image("owner/name")
    allowed = OwnWeights(allow_download=True)
    with pytest.raises(ModelError, match="owner/away cannot be fetched: the hub does not answer"):
        load_text2image("owner/away", own=allowed)
    assert same(load_text2image("owner/name", own=allowed).unet, load_text2image(kept("sd1")[0]).unet)
    assert asked == [True, False, False]
    with pytest.raises(ModelError, match="there is no model at owner/name"):
        load_tryon_base(BaseConfig("owner/name"))
    with pytest.raises(ModelError, match="nor owner/vae in the hub's cache"):
        load_text2image(kept("sd1")[0], own=OwnWeights(vae="owner/vae"))


def test_textual_inversions_of_every_form_become_words(kept, tmp_path):
    folder, _ = kept("sd1")
    rows = torch.randn(2, 64)
    save_file({"emb_params": rows}, tmp_path / "moody.safetensors")
    (tmp_path / "learnt").mkdir()
    save_file({"<cat-toy>": rows[0]}, tmp_path / "learnt" / "learned_embeds.safetensors")
    own = OwnWeights(embeddings=[str(tmp_path / "moody.safetensors"), str(tmp_path / "learnt")])
    pipe, plain = load_text2image(folder, own=own), load_text2image(folder)
    assert pipe.tokenizer.tokenize(pipe.maybe_convert_prompt("a moody dog", pipe.tokenizer)).count("moody_1") == 1
    table = pipe.text_encoder.get_input_embeddings().weight
    ids = pipe.tokenizer.convert_tokens_to_ids(["moody", "moody_1", "<cat-toy>"])
    assert torch.equal(table[ids], rows[[0, 1, 0]])
    for prompt, alike in (("a moody dog", False), ("a photo of a red dog", True)):
        assert np.array_equal(paint(pipe, prompt), paint(plain, prompt)) == alike


def test_textual_inversions_that_cannot_serve_are_named(kept, tmp_path):
    folder, _ = kept("sd1")
    files = {
        "for another base model": {"emb_params": torch.zeros(1, 32)},
        "no textual inversion": {"a": torch.zeros(1), "b": torch.zeros(1)},
        "1 to 75 finite vectors": {"emb_params": torch.full((1, 64), torch.nan)},
    }
    for says, tensors in files.items():
        save_file(tensors, tmp_path / "word.safetensors")
        with pytest.raises(ModelError, match=says):
            load_text2image(folder, own=OwnWeights(embeddings=[str(tmp_path / "word.safetensors")]))
    save_file({"red</w>": torch.zeros(64)}, tmp_path / "known.safetensors")
    with pytest.raises(ConfigError, match="knows the word"):
        load_text2image(folder, own=OwnWeights(embeddings=[str(tmp_path / "known.safetensors")]))
    with pytest.raises(ModelError, match="there is no embedding at"):
        load_text2image(folder, own=OwnWeights(embeddings=[str(tmp_path / "nowhere.safetensors")]))
    for name in ("word.pt", "word.bin"):
        with pytest.raises(ModelError, match="pickled"):
            own_of(OwnWeights(embeddings=[name]))
        with pytest.raises(ModelError, match="pickled"):
            load_text2image(folder, own=OwnWeights(embeddings=[name]))
    with pytest.raises(ConfigError, match="2 lora_weights for 1 loras"):
        own_of(OwnWeights(loras=["a"], lora_weights=[1.0, 2.0]))


@pytest.mark.slow
def test_sdxl_takes_a_word_for_both_encoders(kept, tmp_path):
    folder, _ = kept("sdxl")
    save_file({"clip_l": torch.randn(1, 64), "clip_g": torch.randn(1, 64)}, tmp_path / "moody.safetensors")
    own = OwnWeights(embeddings=[str(tmp_path / "moody.safetensors")])
    pipe = load_text2image(folder, own=own)
    assert "moody" in pipe.tokenizer.get_vocab() and "moody" in pipe.tokenizer_2.get_vocab()
    save_file({"clip_l": torch.randn(1, 64)}, tmp_path / "half.safetensors")
    with pytest.raises(ModelError, match="text_encoder_2 takes width 64 and the file has none"):
        load_text2image(folder, own=OwnWeights(embeddings=[str(tmp_path / "half.safetensors")]))


@pytest.mark.slow
def test_loras_lie_over_a_model_at_their_weights(kept, tmp_path):
    from personagen.adapters.lora import Lora, attach, collect, save_adapter, save_kohya

    folder, _ = kept("sd1")
    teacher = load_text2image(folder)
    attach(teacher, Lora(rank=2), text_encoder=True)
    for part in (teacher.unet, teacher.text_encoder):
        for name, parameter in part.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(std=0.05)
    save_adapter(collect(teacher), tmp_path / "style.safetensors")
    save_kohya(collect(teacher), tmp_path / "kohya.safetensors")
    wanted, plain = paint(teacher, "a red dog"), paint(load_text2image(folder), "a red dog")
    for name in ("style", "kohya"):
        file = str(tmp_path / f"{name}.safetensors")
        whole, none = (OwnWeights(loras=[file], lora_weights=[weight]) for weight in (1.0, 0.0))
        np.testing.assert_allclose(paint(load_text2image(folder, own=whole), "a red dog"), wanted, atol=1e-4)
        np.testing.assert_allclose(paint(load_text2image(folder, own=none), "a red dog"), plain, atol=1e-5)
    assert np.abs(wanted - plain).max() > 1e-3


@pytest.mark.parametrize("family", cases([], slow=["sd1", "sdxl"]))
def test_try_on_takes_a_base_of_either_structure_from_folder_and_file(tmp_path, family):
    from PIL import Image

    folder, file = checkpoints.write_inpainting(family, tmp_path / "base")
    rng = np.random.default_rng(0)
    person, garment = (Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(2))
    mask, pictures = np.zeros((64, 64), bool), []
    mask[16:48, 16:48] = True
    for base in (folder, file):
        pipe = load_tryon_base(BaseConfig(str(base), height=64, width=64))
        noise = torch.Generator().manual_seed(0)
        image = pipe(person, garment, mask, num_inference_steps=2, generator=noise).images[0]
        pictures.append(np.asarray(image).astype(int))
    np.testing.assert_allclose(*pictures, atol=1)
    shutil.rmtree(folder / "vae")
    with pytest.raises(ModelError, match="vae of"):
        load_tryon_base(BaseConfig(str(folder), height=64, width=64))
    assert load_tryon_base(BaseConfig(str(folder), vae=str(file), height=64, width=64)).vae is not None
