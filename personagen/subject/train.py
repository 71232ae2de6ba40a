"""The training of one subject: exact resume, crash-safe checkpoints, smaller chunks when memory runs out.

All randomness of a step comes from (seed, step), so a checkpoint holds no generator state. A step's rows are drawn
first and then put through the model in chunks, whose losses add up: the gradient is the same for any size of chunk, and
for any number of processes under torchrun, which share the chunks out.
"""

import re
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recsys.checkpoint import Checkpoint
from recsys.errors import ConfigError, ResourceError
from recsys.loop import Checkpoints, refuse_a_second_start
from recsys.types import Step

from ..adapters.embeddings import ENCODERS
from ..adapters.lora import Lora, attach
from ..devices import is_out_of_memory
from ..quiet import quiet
from ..training.precision import settled
from ..training.processes import Processes
from ..training.weights import DTYPES, Weights
from .base import encode_prompts, noise_schedule, without_adapter
from .config import SubjectConfig, new_words, placeholder, rows_a_step, same_run, token_names
from .examples import Example, PromptCache, Row, chunks, draw_rows
from .loss import Chunk, answer, chunk_loss
from .optimizer import build_optimizer, rate_factor, settings_of
from .tokens import NewTokens


class Learner:
    """Base model, what is trained of it, and its place in the run: the `recsys.loop.Run` of subjects."""

    def __init__(self, pipe: Any, config: SubjectConfig, *, processes: Processes | None = None) -> None:
        """config: resolved. The pipeline is changed: an adapter or new tokens are added, and the rest is frozen."""
        places = Path(config.output_dir) / "checkpoints"
        precision = settled(config.mixed_precision, device=pipe.unet.device, checkpoints=places)
        config = replace(config, mixed_precision=precision)
        self.pipe, self.config, self.processes = pipe, config, processes or Processes()
        self.folder, self.step = Path(config.output_dir), 0
        self.micro = int(config.train_batch_size or 1)
        self.losses: list[float] = []
        self.drift: list[tuple[int, float]] = []
        self.schedule = noise_schedule(pipe, zero_snr=config.rescale_betas_zero_snr)
        with quiet():
            self.tokens = _make_trainable(pipe, config)
        self.weights = _weights(config, self._named_groups())
        self.parameters = self.weights.parameters
        self.instance: list[Example] = []
        self.of_class: list[Example] = []
        self.prompts: PromptCache | None = None

    @property
    def device(self) -> torch.device:
        """Where the UNet is."""
        return self.pipe.unet.device

    @property
    def words_are_trained(self) -> bool:
        """Whether embeddings of prompts change, so that they cannot be made once and kept."""
        return bool(self.config.train_text_encoder) or self.tokens is not None

    def _named_groups(self) -> dict[str, list[tuple[str, nn.Parameter]]]:
        parts = {"unet": [("unet", self.pipe.unet)], "text": [], "tokens": []}
        parts["text"] = [(name, getattr(self.pipe, name)) for name, _ in ENCODERS if hasattr(self.pipe, name)]
        if self.tokens is not None:
            parts["tokens"] = [("tokens", self.tokens)]
        return {
            group: [
                (f"{part}.{name}", parameter)
                for part, module in members
                if module is not None
                for name, parameter in module.named_parameters()
                if parameter.requires_grad
            ]
            for group, members in parts.items()
        }

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= int(self.config.max_train_steps or 0)

    def advance(self) -> Step:
        """Do one training step.

        Raises:
            ResourceError: five steps in a row were not finite, or not even one row fits into memory.
        """
        begun, config = time.perf_counter(), self.config
        factor = rate_factor(self.step, config)
        for group in self.weights.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        loss = self.gradients(self.rows(self.step))
        norm = self.weights.step(loss, step=self.step + 1, max_grad_norm=config.max_grad_norm)
        self.step += 1
        self.losses.append(loss)
        epoch = self.step * rows_a_step(config) / (len(self.instance) * config.repeats)
        values = {"loss": loss, "grad_norm": norm, "micro_batch": float(self.micro)}
        return Step(self.step, epoch, values, None, time.perf_counter() - begun)

    def rows(self, step: int) -> list[Row]:
        """Draw the subject's rows of a step and, with prior preservation, as many of the class."""
        n_steps, weight = len(self.schedule.abar), float(self.config.prior_loss_weight or 0)
        rows = draw_rows(step, self.instance, self.config, n_steps=n_steps, share=1.0)
        if self.config.with_prior_preservation:
            rows += draw_rows(step, self.of_class, self.config, n_steps=n_steps, share=weight, stream=1)
        return rows

    def gradients(self, rows: list[Row]) -> float:
        """Leave the gradient of the rows' loss in the parameters, and return that loss.

        When memory runs out the chunks are halved, for the rest of the run, and the step begins again. Raises
        ResourceError when not even one row fits.
        """
        while True:
            self.weights.optimizer.zero_grad(set_to_none=True)
            try:
                total = self._accumulate(rows)
                break
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.micro == 1:
                    raise ResourceError(
                        "memory ran out with a single picture at once; set gradient_checkpointing to true, "
                        "mixed_precision to bf16, or lower resolution"
                    ) from error
            self.micro = max(1, self.micro // 2)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        return self.processes.add_up(self.parameters, total)

    def _accumulate(self, rows: list[Row]) -> float:
        per_picture, total = 2 if self.config.with_prior_preservation else 1, 0.0
        for place, part in enumerate(chunks(rows, self.micro * per_picture)):
            if not self.processes.mine(place):
                continue
            with torch.random.fork_rng(enabled=self.config.lora_dropout > 0):
                if self.config.lora_dropout > 0:
                    torch.manual_seed((self.config.seed * 1_000_003 + self.step) * 997 + place)
                loss = self._loss(part)
            self.weights.scaler.scale(loss).backward()
            total += float(loss.detach())
        return total

    def chunk(self, rows: list[Row]) -> Chunk:
        """Stack rows of one size on the device and encode their prompts."""
        device = self.device
        regions = [row.region for row in rows if row.region is not None]
        return Chunk(
            x0=torch.stack([row.x0 for row in rows]).to(device),
            noise=torch.stack([row.noise for row in rows]).to(device),
            t=torch.stack([row.t for row in rows]).to(device),
            text=self.encode([row.prompt for row in rows]),
            share=torch.tensor([row.share for row in rows], device=device),
            region=torch.stack(regions).to(device) if regions else None,
            time_ids=torch.stack([row.time_ids for row in rows]).to(device),
            prior=torch.tensor([row.prior for row in rows], device=device),
        )

    def _loss(self, rows: list[Row]) -> Tensor:
        half, chunk = DTYPES[self.config.mixed_precision], self.chunk(rows)
        with torch.autocast(self.device.type, dtype=half, enabled=half != torch.float32):
            answers = self._base_answers(rows) if self.config.prior_target == "base" else None
            return chunk_loss(self.pipe.unet, chunk, self.schedule, snr_gamma=self.config.snr_gamma, answers=answers)

    @torch.no_grad()
    def _base_answers(self, rows: list[Row]) -> Tensor | None:
        """What the base model says of the rows of the class, zeros for the others; None where there are none."""
        places = [place for place, row in enumerate(rows) if row.prior]
        if not places:
            return None
        with without_adapter(self.pipe):
            chunk = self.chunk([rows[place] for place in places])
            answers = answer(self.pipe.unet, chunk, self.schedule).float()
        index = torch.tensor(places, device=answers.device)
        return answers.new_zeros(len(rows), *answers.shape[1:]).index_copy_(0, index, answers)

    def encode(self, prompts: list[str]):
        """Return the embeddings of prompts: kept ones, or, where words are trained, fresh ones with gradients."""
        if self.prompts is not None:
            return self.prompts.stack(prompts).to(self.device)
        half = DTYPES[self.config.mixed_precision]
        with torch.autocast(self.device.type, dtype=half, enabled=half != torch.float32):
            return encode_prompts(self.pipe, prompts)

    def train_mode(self, on: bool = True) -> None:
        """Switch what is trained between training and evaluation."""
        self.pipe.unet.train(on)
        for name, _ in ENCODERS:
            if getattr(self.pipe, name, None) is not None:
                getattr(self.pipe, name).train(on and bool(self.config.train_text_encoder))

    def park(self) -> None:
        """Move what training does not use to the CPU, so that a GPU has the room."""
        names = ["vae", *([] if self.words_are_trained else [name for name, _ in ENCODERS])]
        for module in [getattr(self.pipe, name, None) for name in names]:
            if module is not None:
                module.to("cpu")

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return the groups of a checkpoint: model, optimizer and, where there is an average, ema."""
        return self.weights.tensors()

    def state(self) -> dict[str, Any]:
        """Return settings, curves, and what else a checkpoint needs."""
        return {
            "config": asdict(self.config),
            "losses": self.losses,
            "drift": self.drift,
            "micro": self.micro,
            "groups": settings_of(self.weights.optimizer),
            **self.weights.state(),
        }

    def restore(self, found: Checkpoint) -> None:
        """Take up a checkpoint.

        Raises:
            ConfigError: it was made with settings that give another result.
            ModelError: it was made on another base model.
        """
        if changed := same_run(found.state["config"], self.config):
            raise ConfigError(f"{found.path} was made with another {', '.join(changed)}; resume with its settings")
        self.weights.restore(found)
        for group, settings in zip(self.weights.optimizer.param_groups, found.state["groups"]):
            group.update(settings)
        self.losses, self.micro = found.state["losses"], found.state["micro"]
        self.drift = [tuple(pair) for pair in found.state["drift"]]


def _weights(config: SubjectConfig, groups: dict[str, list[tuple[str, nn.Parameter]]]) -> Weights:
    """Put an optimiser over named parameters in groups (unet, text, tokens), each with its own learning rate."""
    named = [pair for group in groups.values() for pair in group]
    if not named:
        raise ConfigError("nothing would be trained; set train_unet to lora or full, or ask for new_tokens")
    rates = {"unet": config.learning_rate, "text": config.text_encoder_lr, "tokens": config.token_lr}
    parameters = {name: [parameter for _, parameter in group] for name, group in groups.items() if group}
    return Weights(
        named,
        build_optimizer(config, parameters, rates),
        ema_decay=config.ema_decay if config.use_ema else None,
        half=DTYPES[config.mixed_precision],
        learning_rate=config.learning_rate,
    )


def _make_trainable(pipe: Any, config: SubjectConfig) -> NewTokens | None:
    """Freeze the base, bring it to its precision, and add what is trained in float32; return the new tokens."""
    half = DTYPES[config.mixed_precision]
    for name in ("vae", "unet", *(encoder for encoder, _ in ENCODERS)):
        module = getattr(pipe, name, None)
        if module is not None:
            module.requires_grad_(False).eval()
            module.to(torch.float32 if name == "vae" or (name == "unet" and config.train_unet == "full") else half)
    tokens = None
    if config.new_tokens:
        tokens = NewTokens(pipe, token_names(config), like=config.name, seed=config.seed).to(pipe.unet.device)
    if config.train_unet == "full":
        pipe.unet.requires_grad_(True)
    else:
        lora = Lora(
            rank=int(config.rank or 1),
            alpha=config.lora_alpha,
            dropout=config.lora_dropout,
            feed_forward=bool(config.lora_feed_forward),
            use_rslora=config.use_rslora,
            use_dora=config.use_dora,
        )
        parts = (["unet"] if config.train_unet == "lora" else []) + (["text"] if config.train_text_encoder else [])
        if parts:
            attach(pipe, lora, unet="unet" in parts, text_encoder="text" in parts, seed=config.seed)
    if config.gradient_checkpointing:
        pipe.unet.enable_gradient_checkpointing()
        if config.train_text_encoder:
            for name, _ in ENCODERS:
                if getattr(pipe, name, None) is not None:
                    getattr(pipe, name).gradient_checkpointing_enable()
    return tokens


def prompts_of(learner: Learner) -> list[str]:
    """List every prompt that training can ask for."""
    captions = [example.caption for example in learner.instance + learner.of_class]
    return list(dict.fromkeys([*captions, *([""] if learner.config.caption_dropout else [])]))


def checkpoints_of(config: SubjectConfig, processes: Processes) -> Checkpoints:
    """Say where a run's checkpoints lie, and refuse a folder with some that are not asked to go on.

    Raises:
        ConfigError: the folder holds a run, and resume_from_checkpoint is not given.
    """
    folder = Path(config.output_dir) / "checkpoints"
    if config.resume_from_checkpoint is None:
        refuse_a_second_start(folder, remedy="set resume_from_checkpoint to latest to go on")
    return Checkpoints(folder, config.checkpointing_steps, keep=config.checkpoints_total_limit, first=processes.first)


def with_placeholder(caption: str, config: SubjectConfig) -> str:
    """Replace {token} and the word TOK of a caption by what stands for the subject, {NAME} by a concept's new words."""
    for concept in config.concepts if config.new_tokens else ():
        caption = caption.replace(f"{{{concept}}}", "".join(new_words([concept], config.new_tokens)))
    return re.sub(r"\{token\}|\bTOK\b", placeholder(config), caption)
