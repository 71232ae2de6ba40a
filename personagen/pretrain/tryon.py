"""Stage 3: train the try-on UNet on (person, garment, mask) triples, the corrected variant of `TryOnPipeline`.

The garment half of the sample is the clean garment latent at every step, the loss covers the person half only, and a
dropped garment is zero in sample and condition alike (Re-CatVTON, arXiv 2511.18775).
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from recsys.errors import ConfigError, ModelError
from recsys.types import Step

from ..corpora.corpus import Corpus, Source, draw, heldout, open_corpora, pictures
from ..devices import choose_device
from ..metrics.fidelity import psnr
from ..models.build import build_scheduler, build_unet, silence_cross_attention, start_silent, widen_for_tryon
from ..quiet import quiet
from ..training.card import with_card
from ..training.latents import (
    Encoder,
    Prepare,
    cache_latents,
    drape_over,
    draped_swapped,
    load_encoder,
    paint_over,
    vary,
)
from ..training.loop import autocast
from ..training.objective import add_noise, prediction_target, snr_weights, stratified_timesteps, weighted_error
from ..training.preview import write_grid
from ..tryon.attention import set_cross_attention
from ..tryon.custom import leave_code
from ..tryon.pipeline import TryOnPipeline, unet_input
from .config import PretrainConfig
from .save import forget_paths, half_copy
from .start import load_unet, run_stage

NEEDS = ("image", "garment", "mask")


def train_tryon(config: PretrainConfig) -> Iterator[Step]:
    """Cache latents, then train the UNet; write it to `output_dir/tryon`, without the autoencoder, which is shared."""
    device, bf16 = choose_device(config.loop.device), config.loop.mixed_precision == "bf16"
    encoder = load_encoder(config.tryon.vae_dir, device=device, bf16=bf16)
    corpora = open_corpora(config.corpora, size=(config.height, config.width), needs=NEEDS)
    unknown = set(config.tryon.garment_variants) - set(config.corpora)
    if unknown:
        raise ConfigError(
            f"tryon.garment_variants names {sorted(unknown)}, which is not among the corpora {sorted(config.corpora)}"
        )
    rows = []
    for number, (corpus, _) in enumerate(corpora):
        base = Path(config.output_dir) / "latents" / f"{number}-{corpus.folder.name}"
        copies = config.tryon.garment_variants.get(str(corpus.folder), 0)
        jobs: list[tuple[str, str, Prepare | None]] = [
            ("image", "person", None),
            ("image", "masked", paint_over(corpus)),
        ]
        for k in range(1, copies + 1) if copies else [0]:
            change = vary(k) if k else None
            jobs.append(("garment", f"garment-{k}", change))
            if config.tryon.prefill == "garment":
                jobs.append(("image", f"draped-{k}", drape_over(corpus, change)))
        for name, label, prepare in jobs:
            for share in cache_latents(
                encoder, corpus, name, base.with_name(f"{base.name}-{label}.npy"), prepare=prepare
            ):
                yield Step(0, 0.0, {}, {"cached": share}, 0.0)
        rows.append({label: np.load(base.with_name(f"{base.name}-{label}.npy"), mmap_mode="r") for _, label, _ in jobs})
    yield from run_stage(TryOnStage(config, encoder, corpora, rows), config)


class TryOnStage:
    """The UNet and the latents it learns from."""

    def __init__(
        self, config: PretrainConfig, encoder: Encoder, corpora: list[tuple[Corpus, float]], latents: list[dict]
    ) -> None:
        self.config, self.encoder, self.corpora, self.latents = config, encoder, corpora, latents
        self.device = next(encoder.vae.parameters()).device
        channels, cells = latents[0]["person"].shape[1], latents[0]["person"].shape[2:]
        self.factor = config.height // cells[0]
        torch.manual_seed(config.loop.seed)
        self.unet = _start_unet(config, channels=channels, cells=(2 * cells[0], cells[1])).to(self.device)
        set_cross_attention(self.unet, "zero")
        self.modules: dict[str, nn.Module] = {"unet": self.unet}
        self.scheduler = build_scheduler(
            prediction_type=config.prediction_type, rescale_betas_zero_snr=config.rescale_betas_zero_snr
        )
        self.abar = self.scheduler.alphas_cumprod.to(self.device)
        self.sources = [
            Source(part["person"], corpus.rows["train"], weight) for part, (corpus, weight) in zip(latents, corpora)
        ]
        self.heldout = heldout(corpora, config.loop.heldout_rows)
        self.shown: tuple[Tensor, ...] | None = None
        self.rows = sum(len(source.rows) for source in self.sources)

    def loss(self, step: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the weighted error over the person half of one random batch, and the plain one inside the mask."""
        drawn = draw(self.sources, self.config.loop.batch_size, generator=generator)
        shares = torch.rand(len(drawn), generator=generator).tolist()
        dropped = torch.rand(len(drawn), generator=generator) < self.config.tryon.garment_dropout
        person, shown, garment, mask, touched = self._gather(drawn, shares, dropped.tolist())
        return self._error(person, shown, garment, mask, touched, generator)

    def _gather(self, drawn: list[tuple[int, int]], shares: list[float], dropped: list[bool]) -> tuple[Tensor, ...]:
        """Read person, shown, garment (B, C, h, w), mask and touched (B, 1, h, w).

        A share in [0, 1) picks the variant of the garment. shown: the person with the mask painted over or the garment
        laid in. dropped rows see no garment: zeros. mask: the cells as the UNet is told; touched: every cell in which a
        pixel is repainted.
        """
        columns: list[list[np.ndarray]] = [[], [], [], [], []]
        for (i, row), share, without in zip(drawn, shares, dropped):
            part = self.latents[i]
            variants = [label.removeprefix("garment-") for label in part if label.startswith("garment-")]
            variant = variants[int(share * len(variants))]
            garment, shown = part[f"garment-{variant}"][row], part.get(f"draped-{variant}", part["masked"])[row]
            columns[0].append(part["person"][row])
            columns[1].append(part["masked"][row] if without else shown)
            columns[2].append(np.zeros_like(garment) if without else garment)
            pixels = self.corpora[i][0].arrays["mask"][row]
            columns[3].append(pixels[None, :: self.factor, :: self.factor])
            blocks = pixels.reshape(len(pixels) // self.factor, self.factor, -1, self.factor)
            columns[4].append(blocks.max((1, 3))[None])
        return tuple(torch.from_numpy(np.stack(column).astype(np.float32)) for column in columns)

    def _error(
        self,
        person: Tensor,
        shown: Tensor,
        garment: Tensor,
        mask: Tensor,
        touched: Tensor,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        config, device, rows = self.config, self.device, person.shape[2]
        t = stratified_timesteps(
            len(person), n_steps=len(self.abar), shift=config.timestep_shift, generator=generator
        ).to(device)
        noise = torch.randn(person.shape, generator=generator).to(device)
        person, shown, garment, mask, touched = (part.to(device) for part in (person, shown, garment, mask, touched))
        abar = self.abar[t]
        inputs = unet_input(add_noise(person, noise, abar), shown, garment, mask)
        output = self.unet(inputs, t, encoder_hidden_states=None).sample[:, :, :rows]
        target = prediction_target(person, noise, abar, prediction=config.prediction_type)
        weights = snr_weights(
            abar, prediction=config.prediction_type, weighting=config.weighting, gamma=config.snr_gamma
        )
        region = config.tryon.outside_weight + (1 - config.tryon.outside_weight) * touched
        return {
            "loss": weighted_error(output, target, weights=weights, region=region),
            "inside_mse": weighted_error(output, target, region=touched).detach(),
        }

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return held-out errors with the right and the next row's garment, and L1 and PSNR of whole try-ons."""
        own, other = self._heldout_error(swapped=False), self._heldout_error(swapped=True)
        truth, result, mask = self._wear()[-3:]
        inside = mask.sum((1, 2, 3)).clamp(min=1) * 3
        worn = torch.where(mask > 0, result, truth)
        l1 = (((worn - truth).abs()).sum((1, 2, 3)) / inside).mean().item()
        return {
            "loss": own["loss"],
            "inside_mse": own["inside_mse"],
            "swapped_garment_mse": other["inside_mse"],
            "masked_l1": l1,
            "repainted_psnr": psnr(worn / 2, truth / 2).mean().item(),
        }

    def _heldout_error(self, *, swapped: bool) -> dict[str, float]:
        generator, sums = torch.Generator().manual_seed(0), {"loss": 0.0, "inside_mse": 0.0}
        columns = self._gather(self.heldout, [0.0] * len(self.heldout), [False] * len(self.heldout))
        if swapped:
            shown = columns[1]
            if self.config.tryon.prefill == "garment":
                shown = draped_swapped(self.encoder, self.corpora, self.heldout)
            columns = (columns[0], shown, columns[2].roll(1, dims=0), *columns[3:])
        for start in range(0, len(self.heldout), 8):
            part = [column[start : start + 8] for column in columns]
            with autocast(self.device, self.config.loop):
                errors = self._error(part[0], part[1], part[2], part[3], part[4], generator)
            sums = {
                name: value + float(errors[name]) * len(part[0]) / len(self.heldout) for name, value in sums.items()
            }
        return sums

    def _wear(self) -> tuple[Tensor, ...]:
        """Dress the first held-out rows; return agnostic, garment, truth, result (N, 3, H, W) and mask (N, 1, H, W)."""
        chosen = self.heldout[: self.config.tryon.preview_rows]
        read = lambda name: np.stack([self.corpora[i][0].arrays[name][row] for i, row in chosen])
        person, garment, mask = read("image"), read("garment"), read("mask")
        with autocast(self.device, self.config.loop):
            result = self.pipeline()(
                person,
                garment,
                list(mask > 0),
                num_inference_steps=self.config.tryon.preview_steps,
                guidance_scale=self.config.tryon.guidance_scale,
                repaint=False,
                output_type="pt",
                generator=torch.Generator().manual_seed(1),
            ).images
        truth, marked = pictures(list(person)), torch.from_numpy(mask)[:, None].float()
        self.shown = (truth * (1 - marked), pictures(list(garment)), truth, result.float() * 2 - 1, marked)
        return self.shown

    def pipeline(self) -> TryOnPipeline:
        """Join the components, as they are now, to a pipeline."""
        return TryOnPipeline(
            self.encoder.vae,
            self.unet,
            self.scheduler,
            height=self.config.height,
            width=self.config.width,
            prefill=self.config.tryon.prefill,
        )

    @torch.no_grad()
    def preview(self, path: Path) -> None:
        """Write held-out try-ons, one a line: agnostic person, garment, result, truth."""
        agnostic, garment, truth, result, _ = self.shown or self._wear()
        self.shown = None
        lines = [torch.stack(line) for line in zip(agnostic, garment, result, truth)]
        write_grid(lines, path)

    def export(self, folder: Path) -> Path:
        """Save UNet, scheduler and settings in float16 as a TryOnPipeline without its autoencoder, which is shared."""
        pipe = TryOnPipeline(
            half_copy(self.encoder.vae),
            half_copy(self.unet),
            self.scheduler,
            height=self.config.height,
            width=self.config.width,
            prefill=self.config.tryon.prefill,
        )
        with quiet():
            pipe.save_pretrained(folder / "tryon", safe_serialization=True)
        shutil.rmtree(folder / "tryon" / "vae")
        forget_paths(folder / "tryon")
        return with_card(leave_code(folder / "tryon"), self.config.loop)


def _start_unet(config: PretrainConfig, *, channels: int, cells: tuple[int, int]) -> UNet2DConditionModel:
    """Return the UNet to train: widened from a text-to-image UNet where one is named, else random."""
    size = config.tryon
    if size.unet_dir is None:
        unet = build_unet(
            in_channels=2 * channels + 1,
            out_channels=channels,
            block_out_channels=size.block_out_channels,
            layers_per_block=size.layers_per_block,
            head_width=size.head_width,
            norm_num_groups=size.norm_num_groups,
            cross_attention_dim=size.cross_attention_dim,
            sample_size=cells,
        )
        silence_cross_attention(unet)
        start_silent(unet)
        return unet
    source = load_unet(size.unet_dir, setting="tryon.unet_dir")
    if source.config.in_channels != channels:
        raise ModelError(
            f"the UNet in {size.unet_dir} reads {source.config.in_channels} channels, the autoencoder "
            f"makes {channels}; "
            "take both from one run"
        )
    return widen_for_tryon(source, sample_size=cells)
