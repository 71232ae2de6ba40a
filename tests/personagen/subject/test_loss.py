"""One step's loss and gradients against the plain loop that diffusers' users would write."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from PIL import Image

from personagen.images import load_image, to_tensor
from personagen.person.body import Body
from personagen.person.parts import Part
from personagen.subject import SubjectConfig, resolve
from personagen.subject.base import encode_prompts, predict
from personagen.subject.data import scan
from personagen.subject.examples import PromptCache, encode_pictures
from personagen.subject.loss import chunk_loss
from personagen.subject.train import Learner, prompts_of, with_placeholder
from recsys.errors import ConfigError, ResourceError
from tests.cases import cases
from tests.personagen.subject.parts import FAMILIES, pipeline, write_pictures


def gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


def learner(family, folder, **changes) -> Learner:
    settings: dict[str, Any] = {
        "instance_data_dir": str(folder),
        "name": "dog",
        "output_dir": str(folder / "out"),
        "train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "rank": 2,
        "lora_alpha": 3,
        "learning_rate": 1e-2,
        "device": "cpu",
        "mixed_precision": "no",
    }
    made = Learner(pipeline(family), resolve(SubjectConfig(**{**settings, **changes})))
    pictures, _ = scan(write_pictures(folder, count=3, size=(16, 16)), resolution=16)
    arguments = {"resolution": 16, "flip": False}
    made.instance += encode_pictures(made.pipe, pictures, made.config, caption="a photo of a sks dog", **arguments)
    made.of_class += encode_pictures(made.pipe, pictures[::-1], made.config, caption="a photo of a dog", **arguments)
    if not made.words_are_trained:
        made.prompts = PromptCache()
        made.prompts.fill(made.pipe, prompts_of(made))
    made.train_mode()
    for parameter in made.parameters:  # away from the start, where lora_B = 0 hides half of the gradients
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return made


def gradients_of(made: Learner) -> list[torch.Tensor]:
    """Copy the gradients; SDXL does not use the last layer of its first encoder, which gets none."""
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in made.parameters]


def reference(made: Learner, rows) -> torch.Tensor:
    """The loss of diffusers' example scripts, written with diffusers' own calls; gradients are left in the model."""
    pipe, config = made.pipe, made.config
    scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
    latents, noise = torch.stack([row.x0 for row in rows]), torch.stack([row.noise for row in rows])
    t, prompts = torch.stack([row.t for row in rows]), [row.prompt for row in rows]
    ids = lambda tokenizer: (
        tokenizer(
            prompts, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
        ).input_ids
    )
    added = None
    if hasattr(pipe, "text_encoder_2"):
        one = pipe.text_encoder(ids(pipe.tokenizer), output_hidden_states=True)
        two = pipe.text_encoder_2(ids(pipe.tokenizer_2), output_hidden_states=True)
        context = torch.cat([one.hidden_states[-2], two.hidden_states[-2]], dim=-1)
        added = {"text_embeds": two.text_embeds, "time_ids": torch.tensor([[16.0, 16, 0, 0, 16, 16]] * len(rows))}
    else:
        context = pipe.text_encoder(ids(pipe.tokenizer)).last_hidden_state
    noisy = scheduler.add_noise(latents, noise, t)
    output = pipe.unet(noisy, t, encoder_hidden_states=context, added_cond_kwargs=added).sample
    v = scheduler.config.prediction_type == "v_prediction"
    target = scheduler.get_velocity(latents, noise, t) if v else noise
    error = F.mse_loss(output, target, reduction="none").mean(dim=(1, 2, 3))
    if config.snr_gamma is not None:
        snr = compute_snr(scheduler, t)
        error = error * snr.clamp(max=config.snr_gamma) / (snr + 1 if v else snr)
    if not config.with_prior_preservation:
        return error.mean()
    instance, prior = error.chunk(2)
    return instance.mean() + float(config.prior_loss_weight or 0) * prior.mean()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("prior", "gamma"), cases([(True, 5.0)], slow=[(False, None), (True, None), (False, 5.0)]))
def test_a_step_equals_plain_diffusers(family, prior, gamma, tmp_path):
    settings = {"with_prior_preservation": prior, "snr_gamma": gamma, "prior_loss_weight": 0.7, "prior_target": "image"}
    made = learner(family, tmp_path, train_text_encoder=True, **settings)
    rows = made.rows(5)
    loss = made.gradients(rows)
    ours = gradients_of(made)
    made.weights.optimizer.zero_grad()
    wanted = reference(made, rows)
    wanted.backward()
    assert loss == pytest.approx(float(wanted.detach()), rel=1e-5)
    theirs = gradients_of(made)
    largest = max(float(gradient.abs().max()) for gradient in theirs)
    assert largest > 1e-4
    for got, gradient in zip(ours, theirs):
        assert torch.allclose(got, gradient, rtol=1e-3, atol=1e-5 * largest)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("words", cases([True], slow=[False]))
def test_the_class_is_held_to_what_the_base_model_says(family, words, tmp_path):
    settings = {"with_prior_preservation": True, "prior_target": "base", "prior_loss_weight": 0.7}
    made = learner(family, tmp_path, train_text_encoder=words, **settings)
    base, rows = pipeline(family), made.rows(5)
    loss = made.gradients(rows)
    subject = [row for row in rows if not row.prior]
    own, chunk = float(made._loss(subject)), made.chunk([row for row in rows if row.prior])
    x_t = DDPMScheduler.from_config(base.scheduler.config).add_noise(chunk.x0, chunk.noise, chunk.t)
    outputs = []
    for pipe in (made.pipe, base):
        text = encode_prompts(pipe, [row.prompt for row in rows if row.prior])
        outputs.append(predict(pipe.unet, x_t, chunk.t, text, chunk.time_ids))
    assert loss == pytest.approx(own + 0.7 * float(F.mse_loss(outputs[0], outputs[1]).detach()), rel=1e-4)
    assert len(subject) == len(chunk.x0) == 4 and loss > own


def test_the_whole_unet_leaves_no_base_model_to_ask(tmp_path):
    with pytest.raises(ConfigError, match="prior_target"):
        learner("sd1", tmp_path, prior_target="base", train_unet="full")


@pytest.mark.parametrize("family", FAMILIES)
def test_kept_embeddings_give_the_same_step(family, tmp_path):
    made = learner(family, tmp_path)
    rows = made.rows(0)
    loss, kept = made.gradients(rows), [gradient(parameter).clone() for parameter in made.parameters]
    made.prompts = None
    assert made.gradients(rows) == pytest.approx(loss, rel=1e-6)
    assert all(torch.allclose(a, gradient(p), rtol=1e-4, atol=1e-7) for a, p in zip(kept, made.parameters))


def test_latents_are_those_of_the_autoencoder(tmp_path):
    made = learner("sd1", tmp_path)
    pixels = to_tensor(load_image(tmp_path / "00.png")) * 2 - 1
    with torch.no_grad():
        posterior = made.pipe.vae.encode(pixels).latent_dist
    scale = made.pipe.vae.config.scaling_factor
    assert torch.allclose(made.instance[0].mean, posterior.mean[0] * scale, atol=1e-6)
    assert torch.allclose(made.instance[0].deviation, posterior.std[0] * scale, atol=1e-6)


def test_out_of_memory_halves_the_chunks_and_changes_no_gradient(tmp_path, monkeypatch):
    made = learner("sd1", tmp_path, train_batch_size=4, gradient_accumulation_steps=1)
    rows = made.rows(0)
    loss, whole = made.gradients(rows), [gradient(parameter).clone() for parameter in made.parameters]
    limit, plain = 1, Learner._loss

    def hungry(self, part):
        if len(part) > limit:
            raise torch.OutOfMemoryError("out of memory")
        return plain(self, part)

    monkeypatch.setattr(Learner, "_loss", hungry)
    assert made.gradients(rows) == pytest.approx(loss, rel=1e-6) and made.micro == 1
    largest = max(float(gradient.abs().max()) for gradient in whole)
    assert all(torch.allclose(a, gradient(p), rtol=1e-3, atol=1e-5 * largest) for a, p in zip(whole, made.parameters))
    limit = 0
    with pytest.raises(ResourceError, match="gradient_checkpointing"):
        made.gradients(rows)


def test_masked_rows_learn_inside_the_mask_alone(tmp_path):
    made = learner("sd1", tmp_path)
    region = torch.zeros(1, 8, 8)
    region[:, :4] = 1
    rows = [replace(row, region=region) for row in made.rows(0)]
    chunk = made.chunk(rows)
    output = torch.randn(chunk.x0.shape, generator=torch.Generator().manual_seed(0))
    spoilt = torch.where(region > 0, output, output + 9)
    losses = [
        chunk_loss(lambda *a, said=said, **k: (said,), chunk, made.schedule, snr_gamma=None)
        for said in (output, spoilt)
    ]
    assert torch.equal(*losses) and losses[0] > 0


def test_min_snr_stays_finite_at_zero_terminal_snr(tmp_path):
    made = learner("sd2-v", tmp_path, snr_gamma=5.0)
    last = torch.tensor(len(made.schedule.abar) - 1)
    assert made.schedule.abar[-1] == 0
    rows = [replace(row, t=last) for row in made.rows(0)]
    assert made.gradients(rows) == 0.0 and all(gradient(p).isfinite().all() for p in made.parameters)


def test_zero_terminal_snr_needs_v_prediction(tmp_path):
    with pytest.raises(ConfigError, match="predicts v"):
        learner("sd1", tmp_path, rescale_betas_zero_snr=True)


def test_a_persons_own_parts_weigh_more_and_a_mask_still_holds(tmp_path, monkeypatch):
    parts = np.zeros((16, 16), np.uint8)
    parts[:4], parts[4:8], parts[12:] = Part.HEAD, Part.SKIN, Part.SHOES
    parts[8:12] = Part.UPPER
    found = Body(parts)
    monkeypatch.setattr("personagen.subject.identity._parser", lambda: lambda picture: found)
    folder = write_pictures(tmp_path / "pictures", count=2, size=(16, 16))
    mask = np.zeros((16, 16), np.uint8)
    mask[:, :8] = 255
    pictures, _ = scan(folder, resolution=16)
    Image.fromarray(mask).resize(pictures[0].size[::-1]).save(pictures[0].path.with_suffix(".mask.png"))
    pictures, _ = scan(folder, resolution=16)
    config, pipe = SubjectConfig(instance_data_dir="x", name="dog", buckets=False), pipeline("sd1")
    options = {"resolution": 16, "caption": "a dog", "flip": False}
    masked, plain = encode_pictures(pipe, pictures, config, identity_weight=10.0, **options)
    assert plain.region is not None and masked.region is not None
    cells = plain.region.shape[1]
    rows = plain.region[0].mean(1)
    assert rows[0] == 1 and rows[-1] == 1 and rows[cells // 2] == pytest.approx(0.1) and rows[cells // 4] == 0.5
    assert torch.allclose(masked.region[..., : cells // 2], plain.region[..., : cells // 2])
    assert not masked.region[..., cells // 2 :].any()
    assert all(e.region is None for e in encode_pictures(pipe, pictures[1:], config, **options))
    person = SubjectConfig(instance_data_dir="x", name="person", preset="person", consent=True)
    assert resolve(person).identity_weight == 16 and resolve(config).identity_weight == 1
    with pytest.raises(ConfigError, match="identity_weight"):
        replace(config, identity_weight=0.5)


def test_words_for_the_subject_are_replaced_in_captions():
    config = SubjectConfig(instance_data_dir="x", name="dog")
    assert with_placeholder("{token} and TOK by a STOKER", config) == "sks and sks by a STOKER"
    two = replace(config, concepts=["dog", "bag"], new_tokens=2)
    assert with_placeholder("a {bag} with a {dog}", two) == "a <bag0><bag1> with a <dog0><dog1>"


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_latents_and_embeddings_are_kept_on_disk(family, tmp_path, monkeypatch):
    kept, prompts = tmp_path / "cache", ["a dog", "a sks dog"]
    pictures, _ = scan(write_pictures(tmp_path / "pictures", count=2))
    config = SubjectConfig(instance_data_dir="x", name="dog", cache_dir=str(kept))

    def encode(pipe) -> list[torch.Tensor]:
        examples = encode_pictures(pipe, pictures, config, resolution=16, caption="a dog", flip=True)
        texts = PromptCache(config.cache_dir)
        texts.fill(pipe, prompts)
        mirrored = [example.mirrored[0] for example in examples if example.mirrored is not None]
        return [*mirrored, texts.stack(prompts).context]

    first = encode(pipeline(family))
    files = sorted(kept.iterdir())
    assert len(files) == 2 * 2 + 2
    with monkeypatch.context() as patch:
        patch.setattr("personagen.subject.examples._posterior", None)
        patch.setattr("personagen.subject.examples.encode_prompts", None)
        again = encode(pipeline(family))
    files[0].write_bytes(b"damaged")
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    healed = encode(pipeline(family))  # what is encoded in another batch may differ in the last bit
    assert all(torch.allclose(one, two, atol=1e-5) for one, two in zip(first, healed, strict=True))
    other = encode(pipeline(family, seed=1))
    assert not torch.equal(first[-1], other[-1]) and len(list(kept.iterdir())) == 2 * len(files)


def test_every_picture_comes_once_an_epoch(tmp_path):
    made = learner("sd1", tmp_path, train_batch_size=1, gradient_accumulation_steps=1)
    keyed = {tuple(example.mean.flatten()[:3].tolist()): i for i, example in enumerate(made.instance)}
    for example in made.instance:
        example.deviation.zero_()
    order = [keyed[tuple(made.rows(step)[0].x0.flatten()[:3].tolist())] for step in range(9)]
    assert all(sorted(order[start : start + 3]) == [0, 1, 2] for start in (0, 3, 6))


def test_gradients_that_stay_non_finite_stop_the_run(tmp_path):
    made = learner("sd1", tmp_path)
    made.parameters[0].data.fill_(float("nan"))
    kept = made.parameters[1].detach().clone()
    with pytest.raises(ResourceError, match="5 steps in a row"):
        for _ in range(9):
            made.advance()
    assert torch.equal(made.parameters[1], kept)


def test_the_embedded_model_is_held_to_its_own_answers_and_others_to_their_pictures():
    embedded = resolve(SubjectConfig(instance_data_dir="x", name="dog"))
    assert (embedded.prior_target, embedded.prior_loss_weight) == ("base", 3.0)
    other = resolve(SubjectConfig(instance_data_dir="x", name="dog", pretrained_model_name_or_path="sd15"))
    assert (other.prior_target, other.prior_loss_weight) == ("image", 1.0)
    chosen = resolve(SubjectConfig(instance_data_dir="x", name="dog", prior_target="image"))
    assert (chosen.prior_target, chosen.prior_loss_weight) == ("image", 1.0)
