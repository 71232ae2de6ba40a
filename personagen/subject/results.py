"""What a finished run leaves: adapter (diffusers and kohya), embeddings or whole model, model card, run.json, proof."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recsys.card import LICENCE, card, table

from ..adapters.adapter import FILE
from ..adapters.embeddings import ENCODERS
from ..adapters.lora import collect, load_adapter, save_adapter, save_kohya
from ..adapters.modelspec import base_family, modelspec
from ..files import write_folder, write_text
from ..models.config import PLAIN
from ..provenance import versions
from ..quiet import quiet
from ..schedulers import use_sampler
from ..training.card import public_name
from ..vocabulary import counted
from .base import open_base, use_schedule
from .config import SubjectConfig, own_weights, token_names
from .data import Picture
from .record import SubjectRun, data_fingerprint, write_run
from .samples import at_rest, paint
from .tokens import FILE as TOKENS_FILE
from .tokens import load_tokens
from .train import DTYPES, Learner

PROOF_STEPS = 6
MODEL = "model"


def publish(learner: Learner, pictures: Sequence[Picture], *, size: tuple[int, int]) -> dict[str, float]:
    """Write the results, load them into a fresh pipeline, and return how far its picture differs (reload, ...).

    Raises:
        ResourceError: a file cannot be written.
    """
    config, folder = learner.config, learner.folder
    with at_rest(learner):
        if config.train_unet == "full":
            save_model(learner.pipe, folder / MODEL)
        if learner.pipe.get_list_adapters():
            adapter = collect(learner.pipe)
            facts = _facts(learner, size)
            save_adapter(adapter, folder, metadata=facts)
            save_kohya(adapter, folder / kohya_name(config), metadata=facts)
        if learner.tokens is not None:
            learner.tokens.save(folder / TOKENS_FILE)
        metrics = prove(learner, size=size)
    write_text(folder / "README.md", model_card(learner, metrics))
    write_run(_record(learner, pictures, metrics), folder)
    return metrics


def kohya_name(config: SubjectConfig) -> str:
    """Name the web UIs' file after the subject."""
    return "".join(letter if letter.isalnum() else "-" for letter in config.name.lower()) + ".safetensors"


def prove(learner: Learner, *, size: tuple[int, int]) -> dict[str, float]:
    """Load the saved files into fresh pipelines, paint one seed, and return the largest difference of a pixel.

    Everything is compared in float32. "reload": diffusers' own load_lora_weights; "reload_kohya": the kohya file.
    """
    config, pipe = learner.config, learner.pipe
    _in_float32(pipe)
    wanted = _one(pipe, config, size)
    metrics = {"reload": float(np.abs(_one(reloaded(config, "diffusers"), config, size) - wanted).max())}
    if pipe.get_list_adapters():
        metrics["reload_kohya"] = float(np.abs(_one(reloaded(config, "kohya"), config, size) - wanted).max())
    return metrics


def reloaded(config: SubjectConfig, form: str) -> Any:
    """Load a run's result from disk, in float32: the base as it was trained on, then adapter and new tokens."""
    folder, full = Path(config.output_dir), config.train_unet == "full"
    if full:
        pipe = open_base(folder / MODEL, PLAIN)
    else:
        pipe = open_base(config.pretrained_model_name_or_path, own_weights(config))
    _in_float32(pipe, by_way_of=torch.float32 if full else DTYPES[config.mixed_precision])
    use_schedule(pipe, zero_snr=config.rescale_betas_zero_snr)
    use_sampler(pipe, config.scheduler)
    if config.new_tokens:
        load_tokens(pipe, folder / TOKENS_FILE, token_names(config))
    if (folder / FILE).is_file() and (config.train_unet == "lora" or config.train_text_encoder):
        if form == "diffusers":
            with quiet():
                pipe.load_lora_weights(folder, weight_name=FILE)
        else:
            load_adapter(pipe, folder / kohya_name(config))
    return pipe


def _in_float32(pipe: Any, *, by_way_of: torch.dtype = torch.float32) -> None:
    """Bring UNet and text encoders to float32, rounded first to the precision that the base had in training."""
    with quiet():
        for name in ("unet", *(encoder for encoder, _ in ENCODERS)):
            if getattr(pipe, name, None) is not None:
                getattr(pipe, name).to(by_way_of).to(torch.float32)


def _one(pipe: Any, config: SubjectConfig, size: tuple[int, int]) -> np.ndarray:
    steps = min(PROOF_STEPS, config.validation_inference_steps)
    return paint(pipe.to("cpu"), str(config.validation_prompt), [config.seed], config, size=size, steps=steps)[0]


def save_model(pipe: Any, folder: Path) -> None:
    """Write the whole pipeline beside its place, then move it there; an older one stays until that moment.

    Raises:
        ResourceError: the disk refuses.
    """

    def write(place: Path) -> Path:
        work = place / folder.name
        with quiet():
            pipe.save_pretrained(work, safe_serialization=True)
        index = work / "model_index.json"
        index.write_text(index.read_text(encoding="utf-8").replace("ImageProcessorPil", "ImageProcessor"), "utf-8")
        return work

    write_folder(folder.parent, write)


def _facts(learner: Learner, size: tuple[int, int]) -> dict[str, str]:
    """What the adapter files say of themselves: nothing about the pictures or the person."""
    config, side = learner.config, learner.config.resolution
    trained_at = (side, side) if side else size
    return modelspec(learner.pipe, title=config.name, size=trained_at, trigger=config.instance_prompt) | {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(config.rank),
        "ss_network_alpha": str(config.lora_alpha),
    }


def model_card(learner: Learner, metrics: dict[str, float]) -> str:
    """Write the README.md of a result: what it is, how to load it, samples, settings; no path of this machine."""
    config, full = learner.config, learner.config.train_unet == "full"
    base, family = public_name(config.pretrained_model_name_or_path), base_family(learner.pipe)[0]
    samples = f"samples/step-{learner.step:06d}.png"
    head = {
        **LICENCE,
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "base_model": base,
        "base_model_relation": "finetune" if full else "adapter",
        "instance_prompt": config.instance_prompt,
        "tags": ["text-to-image", "dreambooth", family, *([] if full else ["lora", "template:sd-lora"])],
    }
    lines = [
        f"# {config.name}",
        "",
        f"Say `{config.instance_prompt}`. Learnt on `{base}` from {counted(len(learner.instance), 'picture')} in "
        f"{counted(learner.step, 'step')}.",
        "",
    ]
    if (learner.folder / samples).is_file():
        lines += [f"![the base model above, with this subject below]({samples})", ""]
    load = "load_text2image(FOLDER / 'model')" if full else "pipe.load_lora_weights(FOLDER)"
    chosen = ("rank", "lora_alpha", "learning_rate", "resolution", "train_unet", "train_text_encoder", "new_tokens",
              "with_prior_preservation", "snr_gamma", "seed")  # fmt: skip
    settings = asdict(config)
    lines += ["```python", load, "```", ""]
    return card(head, [*lines, *table("setting", {name: settings[name] for name in chosen} | metrics)])


def _record(learner: Learner, pictures: Sequence[Picture], metrics: dict[str, float]) -> SubjectRun:
    return SubjectRun(
        config=learner.config,
        versions=versions(),
        torch_device=torch.cuda.get_device_name() if learner.device.type == "cuda" else "cpu",
        pictures=len(pictures),
        data_sha256=data_fingerprint(pictures),
        steps=learner.step,
        final_loss=learner.losses[-1] if learner.losses else None,
        drift=learner.drift,
        metrics=metrics,
    )
