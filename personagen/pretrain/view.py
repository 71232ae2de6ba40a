"""Train the view completer: a LoRA on a finished try-on network, by pairs of views (`views`).

The layout is that of try-on (`tryon.pipeline.unet_input`): the figure's front stands in the garment's place, and what
the figure shows from a side is the person. Every row is also learnt mirrored.
"""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from recsys.types import Step

from ..adapters.adapter import Adapter
from ..adapters.lora import collect, save_adapter
from ..corpora.corpus import Corpus, Source, draw, heldout, open_corpora, pictures
from ..devices import choose_device
from ..figure.completer import FILE, Completer
from ..metrics.fidelity import psnr
from ..models import load_tryon
from ..training.card import with_card
from ..training.latents import Encoder, cache_latents
from ..training.loop import autocast
from ..training.objective import add_noise, prediction_target, snr_weights, stratified_timesteps, weighted_error
from ..training.preview import write_grid
from ..tryon.pipeline import TryOnPipeline, unet_input
from .config import PretrainConfig
from .start import run_stage
from .tryon_pairs import fingerprint

NEEDS = ("image", "garment", "mask", "guess")
LAYERS = r".*(attn1\.to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2)|proj_in|proj_out|conv\d?|conv_shortcut)|conv_(in|out)"
"""What the LoRA changes: all but cross-attention, which is silent, and what tells the time."""


def train_view(config: PretrainConfig) -> Iterator[Step]:
    """Cache latents, then train; write the LoRA to `output_dir/view`."""
    device = choose_device(config.loop.device)
    pipe = load_tryon(config.view.tryon_dir or "embedded").to(device)
    pipe.unet.float().requires_grad_(False)
    pipe.vae.float().requires_grad_(False)
    encoder = Encoder(pipe.vae, fingerprint(pipe.vae), config.loop.mixed_precision == "bf16")
    corpora = open_corpora(config.corpora, size=(config.height, config.width), needs=NEEDS)
    latents = []
    for number, (corpus, _) in enumerate(corpora):
        base = Path(config.output_dir) / "latents" / f"{number}-{corpus.folder.name}"
        found = {}
        for name in ("image", "garment", "guess"):
            for way, prepare in enumerate((None, _mirror)):
                file = base.with_name(f"{base.name}-{name}-{way}.npy")
                for share in cache_latents(encoder, corpus, name, file, prepare=prepare):
                    yield Step(0, 0.0, {}, {"cached": share}, 0.0)
                found[name, way] = np.load(file, mmap_mode="r")
        latents.append(found)
    yield from run_stage(ViewStage(config, pipe, corpora, latents), config)


def add_lora(unet: Any, *, rank: int) -> None:
    """Add a LoRA to a UNet that is frozen otherwise; it changes nothing until it is trained."""
    from peft import LoraConfig

    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=LAYERS, init_lora_weights=True))


def _mirror(x: Tensor, rows: list[int]) -> Tensor:
    return x.flip(-1)


class ViewStage:
    """The network and the latents it learns from."""

    def __init__(
        self, config: PretrainConfig, pipe: TryOnPipeline, corpora: list[tuple[Corpus, float]], latents: list[dict]
    ) -> None:
        self.config, self.pipe, self.corpora, self.latents = config, pipe, corpora, latents
        self.unet: Any = pipe.unet
        self.device = next(self.unet.parameters()).device
        self.factor = pipe.vae_scale_factor
        torch.manual_seed(config.loop.seed)
        add_lora(self.unet, rank=config.view.rank)
        self.modules: dict[str, nn.Module] = {"unet": self.unet}
        self.prediction = pipe.scheduler.config.prediction_type
        self.abar = pipe.scheduler.alphas_cumprod.to(self.device)
        self.sources = [
            Source(part["image", 0], corpus.rows["train"], weight) for part, (corpus, weight) in zip(latents, corpora)
        ]
        self.heldout = heldout(corpora, config.loop.heldout_rows)
        self.rows = sum(len(source.rows) for source in self.sources)

    def loss(self, step: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the weighted error of one random batch, and the plain one inside the mask."""
        drawn = draw(self.sources, self.config.loop.batch_size, generator=generator)
        ways = (torch.rand(len(drawn), generator=generator) < 0.5).int().tolist()
        image, guess, front, mask = self._gather(drawn, ways)
        return self._error(image, guess, front, mask, generator)

    def _gather(self, drawn: list[tuple[int, int]], ways: list[int]) -> tuple[Tensor, ...]:
        """Read image, guess and front (B, C, h, w) and mask (B, 1, h, w); ways: 1 where a row is mirrored."""
        columns: list[list[np.ndarray]] = [[], [], [], []]
        for (i, row), way in zip(drawn, ways):
            for column, name in zip(columns, ("image", "guess", "garment")):
                column.append(self.latents[i][name, way][row])
            mask = self.corpora[i][0].arrays["mask"][row]
            columns[3].append((mask[:, ::-1] if way else mask)[None, :: self.factor, :: self.factor])
        return tuple(torch.from_numpy(np.stack(column).astype(np.float32)).to(self.device) for column in columns)

    def _error(
        self, image: Tensor, guess: Tensor, front: Tensor, mask: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        config, rows = self.config, image.shape[2]
        t = stratified_timesteps(
            len(image), n_steps=len(self.abar), shift=config.timestep_shift, generator=generator
        ).to(self.device)
        noise = torch.randn(image.shape, generator=generator).to(self.device)
        abar = self.abar[t]
        inputs = unet_input(add_noise(image, noise, abar), guess, front, mask)
        output = self.unet(inputs, t, encoder_hidden_states=None).sample[:, :, :rows]
        target = prediction_target(image, noise, abar, prediction=self.prediction)
        weights = snr_weights(abar, prediction=self.prediction, weighting=config.weighting, gamma=config.snr_gamma)
        outside = config.tryon.outside_weight
        return {
            "loss": weighted_error(output, target, weights=weights, region=outside + (1 - outside) * mask),
            "inside_mse": weighted_error(output, target, region=mask).detach(),
        }

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return held-out errors, and PSNR in what is hidden of finished views and of guesses, against the truth."""
        generator, sums = torch.Generator().manual_seed(0), {"loss": 0.0, "inside_mse": 0.0}
        columns = self._gather(self.heldout, [0] * len(self.heldout))
        for start in range(0, len(self.heldout), 8):
            part = [column[start : start + 8] for column in columns]
            with autocast(self.device, self.config.loop):
                errors = self._error(part[0], part[1], part[2], part[3], generator)
            sums = {
                name: value + float(errors[name]) * len(part[0]) / len(self.heldout) for name, value in sums.items()
            }
        return sums | self._compared()

    def _compared(self) -> dict[str, float]:
        """PSNR in dB of finished views and of guesses where they are hidden, means over held-out rows."""
        ours, before = [], []
        for row in self.heldout:
            _, guess, done, truth, hidden = self._finished(row)
            if hidden.any():
                for found, picture in ((ours, done), (before, guess)):
                    found.append(float(psnr(picture[None, :, hidden, None], truth[None, :, hidden, None]).mean()))
        return {"psnr": float(np.mean(ours)), "guess_psnr": float(np.mean(before))}

    def _finished(self, row: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Front, guess, finished view and truth (3, H, W) in [0, 1] of a row, and what is hidden, bool (H, W)."""
        arrays = self.corpora[row[0]][0].arrays
        front, guess, truth, hidden = (np.array(arrays[name][row[1]]) for name in ("garment", "guess", "image", "mask"))
        completer = Completer(self.pipe)
        completer.size = (self.config.height, self.config.width)
        with autocast(self.device, self.config.loop):
            change = completer(
                Image.fromarray(front), Image.fromarray(guess), hidden > 0, torch.Generator().manual_seed(1)
            )
        shown = [pictures([one])[0] / 2 + 0.5 for one in (front, guess, truth)]
        done = (shown[1] + torch.from_numpy(change).permute(2, 0, 1)).clamp(0, 1)
        return shown[0], shown[1], done, shown[2], torch.from_numpy(hidden > 0)

    @torch.no_grad()
    def preview(self, path: Path) -> None:
        """Write held-out views, one a line: front, guess, result, truth."""
        lines = [torch.stack(self._finished(row)[:4]) * 2 - 1 for row in self.heldout[: self.config.tryon.preview_rows]]
        write_grid(lines, path)

    def export(self, folder: Path) -> Path:
        """Save the LoRA in float16, as one file that `load_completer` reads."""
        adapter = collect(SimpleNamespace(unet=self.unet))
        half = Adapter({name: value.half() for name, value in adapter.tensors.items()}, adapter.configs)
        save_adapter(half, folder / "view" / FILE)
        return with_card(folder / "view", self.config.loop, base=self.config.view.tryon_dir or "embedded")
