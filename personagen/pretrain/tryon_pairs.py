"""Train try-on on pairs of person and garment: self-attention, a LoRA on it, or the whole UNet of a given model.

Losses: "corrected" as in personagen.pretrain.tryon (Re-CatVTON, arXiv 2511.18775); "plain" noises person and garment
and learns both (CatVTON, arXiv 2407.15886), a dropped garment being zero in the condition only.
A corpus with guesses (`guess.npy`), as one of views has, shows these instead of garments laid over people.
Under torchrun the processes share the rows of a step out: the draws, and the gradient, are those of a single process.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from recsys.errors import ConfigError
from recsys.types import Step

from ..corpora.corpus import Corpus, Source, draw, heldout, open_corpora, pictures
from ..corpora.leftout import Tell, silent
from ..corpora.pairs import read_pairs, write_pairs_corpus
from ..corpora.photos import write_people_corpus
from ..devices import choose_device
from ..files import check_place, write_tensors
from ..models import load_tryon
from ..quiet import quiet
from ..training.card import with_card
from ..training.latents import Encoder, Prepare, cache_latents, drape_over, draped_swapped, paint_over, vary
from ..training.loop import autocast, run
from ..training.objective import add_noise, prediction_target, stratified_timesteps, weighted_error
from ..training.precision import with_precision
from ..training.preview import write_grid
from ..training.processes import Processes
from ..tryon.attention import attention_tensors, self_attentions, size_conditions
from ..tryon.custom import leave_code
from ..tryon.pipeline import TryOnPipeline, unet_input
from .pairs_config import TryOnTrainConfig

NEEDS = ("image", "garment", "mask")


def train_tryon_pairs(config: TryOnTrainConfig, *, tell: Tell = silent) -> Iterator[Step]:
    """Write the corpus and its latents, then train; yield a Step after each training step, and go on where it stopped.

    The result lies in `output_dir`: `attention/model.safetensors` in the published layout, `lora/`, or `tryon/`, a
    whole pipeline (also where no base is given). Step 0 with {"cached": share} comes while corpus and latents are
    written. tell: takes a line about each pair that cannot be read and is left out.

    Raises:
        ConfigError: settings cannot work.
        DataError: pairs or corpora are missing or damaged.
        ModelError: weights are missing or do not fit.
        ResourceError: steps stay non-finite, or the disk is full.
    """
    processes = Processes()
    if config.loop.batch_size < processes.count:
        raise ConfigError(f"batch_size {config.loop.batch_size} is too small for {processes.count} processes; raise it")
    check_place(Path(config.output_dir))
    config = with_precision(config)
    pipe = _start(config, processes)
    corpora = dict(config.corpora)
    if config.root is not None:
        folder = Path(config.output_dir) / "corpus"
        if processes.first and not (folder / "meta.jsonl").is_file():
            for share in _write_corpus(config, folder, tell):
                yield Step(0, 0.0, {}, {"cached": share}, 0.0)
        processes.wait()
        corpora[str(folder)] = 1.0
    encoder = Encoder(pipe.vae, fingerprint(pipe.vae), config.loop.mixed_precision == "bf16")
    opened = open_corpora(corpora, size=(config.height, config.width), needs=NEEDS)
    if _guessed(opened):
        pipe.register_to_config(prefill="garment")  # guesses are shown in every step
    latents: list[dict[str, np.ndarray]] = []
    for number, (corpus, _) in enumerate(opened):
        base = Path(config.output_dir) / "latents" / f"{number}-{corpus.folder.name}"
        jobs = _jobs(corpus, config.garment_variants, draped=pipe.config["prefill"] == "garment")
        for label, name, prepare in jobs if processes.first else ():
            file = base.with_name(f"{base.name}-{label}.npy")
            for share in cache_latents(encoder, corpus, name, file, prepare=prepare, batch_size=4):
                yield Step(0, 0.0, {}, {"cached": share}, 0.0)
        processes.wait()
        read = lambda label, base=base: np.load(base.with_name(f"{base.name}-{label}.npy"), mmap_mode="r")
        latents.append({label: read(label) for label, _, _ in jobs})
    stage = PairsStage(config, pipe, encoder, opened, latents, processes)
    yield from run(stage, processes=processes)


def _guessed(opened: list[tuple[Corpus, float]]) -> bool:
    """Whether every corpus holds its own guesses, as one of views does."""
    return all("guess" in corpus.arrays for corpus, _ in opened)


def _jobs(corpus: Corpus, variants: int, *, draped: bool) -> list[tuple[str, str, Prepare | None]]:
    """Name the latents that a corpus is learnt from: label, array, and what is done to its pictures before.

    draped: garments are laid over people, where the corpus has no guesses of its own.
    """
    jobs: list[tuple[str, str, Prepare | None]] = [("person", "image", None), ("masked", "image", paint_over(corpus))]
    for k in range(1, variants + 1) if variants else [0]:
        change = vary(k) if k else None
        jobs.append((f"garment-{k}", "garment", change))
        if "guess" in corpus.arrays:
            jobs.append((f"draped-{k}", "guess", None))
        elif draped:
            jobs.append((f"draped-{k}", "image", drape_over(corpus, change)))
    return jobs


def _write_corpus(config: TryOnTrainConfig, folder: Path, tell: Tell) -> Iterator[float]:
    size = (config.height, config.width)
    if config.layout == "parsed":
        write_people_corpus(str(config.root), folder, size=size, tell=tell)
        yield 1.0
    else:
        yield from write_pairs_corpus(read_pairs(str(config.root), config.layout), folder, size=size, tell=tell)


def fingerprint(model: nn.Module) -> str:
    """Hash a model's weights, so that what was made with it can be told from what another one made."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _start(config: TryOnTrainConfig, processes: Processes) -> TryOnPipeline:
    """Load the model to start from, freeze it, and free what is trained."""
    device = processes.own(choose_device(config.loop.device))
    if config.base is not None:
        from ..models.base import load_tryon_base

        pipe = load_tryon_base(config.base).to(device)
    else:
        pipe = load_tryon(config.model).to(device)
    pipe.register_to_config(variant=config.variant, height=config.height, width=config.width)
    pipe.set_progress_bar_config(disable=True)
    pipe.vae.requires_grad_(False)
    pipe.unet.requires_grad_(False)
    torch.manual_seed(config.loop.seed)
    free_parameters(pipe.unet, config.train, rank=config.rank)
    if config.gradient_checkpointing:
        pipe.unet.enable_gradient_checkpointing()
    return pipe


def free_parameters(unet: Any, train: str, *, rank: int) -> None:
    """Let only `train` have gradients: "attn1", "lora" (added here, on attn1), or "unet" without cross-attention."""
    if train == "lora":
        from peft import LoraConfig

        unet.add_adapter(
            LoraConfig(r=rank, lora_alpha=rank, target_modules=r".*attn1\.to_(q|k|v|out\.0)", init_lora_weights=True)
        )
    elif train == "attn1":
        for layer in self_attentions(unet).values():
            layer.requires_grad_(True)
    elif train == "unet":
        for name, parameter in unet.named_parameters():
            parameter.requires_grad_(".attn2." not in name)
    else:
        raise ConfigError(f"train {train!r} must be attn1, lora or unet")


class PairsStage:
    """The pipeline that is trained and the latents it learns from."""

    def __init__(
        self,
        config: TryOnTrainConfig,
        pipe: TryOnPipeline,
        encoder: Encoder,
        corpora: list[tuple[Corpus, float]],
        latents: list[dict[str, np.ndarray]],
        processes: Processes,
    ) -> None:
        self.config, self.pipe, self.encoder, self.corpora, self.latents = config, pipe, encoder, corpora, latents
        self.unet, self.device, self.processes = pipe.unet, next(pipe.unet.parameters()).device, processes
        self.modules: dict[str, nn.Module] = {"unet": self.unet}
        self.abar = pipe.scheduler.alphas_cumprod.to(self.device)
        self.prediction = pipe.scheduler.config.prediction_type
        self.factor = config.height // latents[0]["person"].shape[2]
        self.sources = [
            Source(part["person"], corpus.rows["train"], weight) for part, (corpus, weight) in zip(latents, corpora)
        ]
        self.heldout = heldout(corpora, config.loop.heldout_rows)
        self.rows = sum(len(source.rows) for source in self.sources)

    def loss(self, step: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the error of the configured variant over this process's rows of a random batch, times their share."""
        drawn = draw(self.sources, self.config.loop.batch_size, generator=generator)
        shares = torch.rand(len(drawn), generator=generator).tolist()
        dropped = torch.rand(len(drawn), generator=generator) < self.config.garment_dropout
        person, shown, garment, mask = self._gather(drawn, shares, dropped.tolist())
        condition = torch.where(dropped.to(self.device)[:, None, None, None], torch.zeros_like(garment), garment)
        mine = slice(self.processes.rank, None, self.processes.count)
        share = len(drawn[mine]) / len(drawn)
        return {"loss": share * self._error(person, shown, garment, condition, mask, generator, mine=mine)}

    def _gather(self, drawn: list[tuple[int, int]], shares: list[float], dropped: list[bool]) -> tuple[Tensor, ...]:
        """Read latents of person, shown and garment (B, C, h, w) and the mask (B, 1, h, w).

        shown: the person with the mask painted over or, where the model starts from it, the garment laid in; a dropped
        garment is not.
        """
        columns: list[list[np.ndarray]] = [[], [], [], []]
        for (i, row), share, without in zip(drawn, shares, dropped):
            part = self.latents[i]
            variants = [label.removeprefix("garment-") for label in part if label.startswith("garment-")]
            variant = variants[int(share * len(variants))]
            shown = "masked" if without or f"draped-{variant}" not in part else f"draped-{variant}"
            for column, label in zip(columns, ("person", shown, f"garment-{variant}")):
                column.append(part[label][row])
            columns[3].append(self.corpora[i][0].arrays["mask"][row][None, :: self.factor, :: self.factor])
        return tuple(torch.from_numpy(np.stack(column).astype(np.float32)).to(self.device) for column in columns)

    def _error(
        self,
        person: Tensor,
        shown: Tensor,
        garment: Tensor,
        condition: Tensor,
        mask: Tensor,
        generator: torch.Generator,
        mine: slice = slice(None),
    ) -> Tensor:
        """condition: the garment as the UNet is told, zeros where dropped. Plain: both halves are noised and learnt.

        mine: the rows that count; noise is drawn for all of them, whatever the number of processes.
        """
        plain = self.config.variant == "plain"
        x0 = torch.cat([person, garment], dim=2) if plain else person
        t = stratified_timesteps(len(x0), n_steps=len(self.abar), generator=generator).to(self.device)
        noise = torch.randn(x0.shape, generator=generator).to(self.device)
        x0, t, noise, mask = x0[mine], t[mine], noise[mine], mask[mine]
        noisy, rows = add_noise(x0, noise, self.abar[t]), person.shape[2]
        below = noisy[:, :, rows:] if plain else None
        inputs = unet_input(noisy[:, :, :rows], shown[mine], condition[mine], mask, garment_sample=below)
        sizes = size_conditions(self.unet, inputs, cell=self.pipe.vae_scale_factor)
        output = self.unet(inputs, t, encoder_hidden_states=None, added_cond_kwargs=sizes).sample
        output = output[:, :, : x0.shape[2]]
        target = prediction_target(x0, noise, self.abar[t], prediction=self.prediction)
        outside = self.config.outside_weight
        return weighted_error(output, target, region=None if plain else outside + (1 - outside) * mask)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return held-out errors with the right and with the next row's garment: the second should stay larger."""
        people, own, worn, masks = self._gather(self.heldout, [0.0] * len(self.heldout), [False] * len(self.heldout))
        other = own
        if self.pipe.config["prefill"] == "garment" and not _guessed(self.corpora):
            other = draped_swapped(self.encoder, self.corpora, self.heldout).to(self.device)
        found = {}
        for name, seen, garments in (
            ("heldout_mse", own, worn), ("swapped_garment_mse", other, worn.roll(1, dims=0)),
        ):  # fmt: skip
            generator, total = torch.Generator().manual_seed(0), 0.0
            for at in range(0, len(self.heldout), 4):
                person, shown, garment, mask = (part[at : at + 4] for part in (people, seen, garments, masks))
                with autocast(self.device, self.config.loop):
                    error = self._error(person, shown, garment, garment, mask, generator)
                total += float(error) * len(person) / len(self.heldout)
            found[name] = total
        return found

    @torch.no_grad()
    def preview(self, path: Path) -> None:
        """Write held-out try-ons, one a line: agnostic person, garment, result, truth."""
        chosen = self.heldout[: self.config.preview_rows]
        read = lambda name: np.stack([self.corpora[i][0].arrays[name][row] for i, row in chosen])
        person, garment, mask = read("image"), read("garment"), read("mask")
        guess = [Image.fromarray(one).convert("RGBA") for one in read("guess")] if _guessed(self.corpora) else None
        with autocast(self.device, self.config.loop):
            result = self.pipe(
                person, garment, list(mask > 0), guess=guess, num_inference_steps=self.config.preview_steps,
                guidance_scale=self.config.guidance, repaint=False, output_type="pt",
                generator=torch.Generator().manual_seed(1),
            ).images  # fmt: skip
        truth, marked = pictures(list(person)), torch.from_numpy(mask)[:, None].float()
        columns = (truth * (1 - marked), pictures(list(garment)), result.float() * 2 - 1, truth)
        write_grid([torch.stack(line) for line in zip(*columns)], path)

    def export(self, folder: Path) -> Path:
        """Write what was trained: published layout of self-attention, a LoRA, or the whole pipeline."""
        base = self.config.model if self.config.base is None else self.config.base.base
        if self.config.train == "lora":
            with quiet():
                self.unet.save_lora_adapter(folder / "lora")
            return with_card(folder / "lora", self.config.loop, base=base)
        if self.config.train == "attn1" and self.config.base is not None:
            file = write_tensors(folder / "attention" / "model.safetensors", attention_tensors(self.unet))
            return with_card(file.parent, self.config.loop, base=base)
        with quiet():
            self.pipe.save_pretrained(folder / "tryon", safe_serialization=True)
        return with_card(leave_code(folder / "tryon"), self.config.loop, base=base)
