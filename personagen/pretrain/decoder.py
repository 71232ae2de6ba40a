"""Stage "decoder": train a painter's decoder alone, on latents as the painter makes them, so that it decides.

A network that denoises leaves doubt in its latents, and a decoder that has only seen true ones turns the doubt into
fog. Here true latents are noised to different levels and denoised by the painter itself in a few steps; the decoder
learns from them, and from true ones, to give back the true picture, judged by pixels, by features and by a critic of
patches (`adversary`). The encoder, and with it every network that paints in its latents, stays as it is.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from torch import Tensor, nn

from recsys.types import Step

from ..corpora.corpus import Corpus, Source, draw, heldout, open_corpora, pictures
from ..devices import choose_device
from ..files import new_array
from ..metrics.fidelity import laplacian_energy, psnr
from ..models import load_text2image
from ..person.parser import load_model
from ..training.card import with_card
from ..training.latents import Encoder, cache_latents, latent_files, load_encoder
from ..training.loop import autocast
from ..training.objective import add_noise, predicted_x0
from ..training.preview import write_grid
from .adversary import PatchCritic, balance, critic_loss, feature_distance, fooling_loss, steepness
from .config import DecoderConfig, PretrainConfig
from .save import forget_paths, half_copy
from .start import run_stage
from .text import CAPTIONS
from .vae import gradient_difference, ssim_map


def train_decoder(config: PretrainConfig) -> Iterator[Step]:
    """Cache true and made latents, then train the decoder; write the autoencoder to `output_dir/vae`."""
    device = choose_device(config.loop.device)
    painter = Path(config.decoder.painter_dir)
    encoder = load_encoder(painter / "vae", device=device, bf16=config.loop.mixed_precision == "bf16")
    corpora = open_corpora(config.corpora, size=(config.height, config.width))
    true = latent_files(corpora, CAPTIONS, Path(config.output_dir) / "latents")
    for (i, name), path in true.items():
        for share in cache_latents(encoder, corpora[i][0], name, path):
            yield Step(0, 0.0, {}, {"cached": share}, 0.0)
    pipe = load_text2image(str(painter))
    for (i, name), path in true.items():
        for share in _cache_made(pipe, corpora[i][0], name, path, config=config):
            yield Step(0, 0.0, {}, {"made": share}, 0.0)
    yield from run_stage(DecoderStage(config, encoder, corpora, true), config)


def _made(path: Path) -> Path:
    return path.with_name(f"{path.stem}-made.npy")


@torch.no_grad()
def _cache_made(pipe: Any, corpus: Corpus, name: str, path: Path, *, config: PretrainConfig) -> Iterator[float]:
    """Noise and denoise every true latent of an array into a file beside it; yield the share done.

    Nothing is done where that file is newer than the true latents.
    """
    out = _made(path)
    if out.is_file() and out.stat().st_mtime >= path.stat().st_mtime:
        return
    true = np.load(path, mmap_mode="r")
    generator = torch.Generator().manual_seed(config.loop.seed)
    with new_array(out, shape=true.shape, dtype=np.float16) as target:
        for start in range(0, len(true), 8):
            words = [row.get(CAPTIONS[name], "") for row in corpus.meta[start : start + 8]]
            z = torch.from_numpy(true[start : start + 8].astype(np.float32))
            with autocast(pipe.unet.device, config.loop):
                made = repainted(pipe, z, words, settings=config.decoder, generator=generator)
            target[start : start + 8] = made.cpu().numpy()
            yield min(start + 8, len(true)) / len(true)


def repainted(pipe: Any, z: Tensor, words: list[str], *, settings: DecoderConfig, generator: torch.Generator) -> Tensor:
    """Noise latents z (B, C, h, w) to one level drawn for all, and let the pipeline denoise them; (B, C, h, w) float32.

    The level is drawn up to `highest_noise` of the schedule, and walked down in `steps` at most.
    """
    device = pipe.unet.device
    scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    length = len(scheduler.alphas_cumprod)
    level = int(float(torch.rand(1, generator=generator)) * settings.highest_noise * length) + 1
    walk = np.unique(np.linspace(0, level, settings.steps + 1).round().astype(int))[::-1]
    tokens = pipe.tokenizer(words, padding="max_length", truncation=True, return_tensors="pt").input_ids
    context = pipe.text_encoder(tokens.to(device))[0]
    abar = scheduler.alphas_cumprod.to(device)
    noise = torch.randn(z.shape, generator=generator).to(device)
    z = add_noise(z.to(device), noise, abar[level].expand(len(z)))
    for at, to in zip(walk, walk[1:]):
        t = torch.full((len(z),), int(at), device=device)
        output = pipe.unet(z, t, encoder_hidden_states=context).sample.float()
        prediction = pipe.scheduler.config["prediction_type"]
        x0 = predicted_x0(output, z, abar[at].expand(len(z)), prediction=prediction)
        noise = (z - abar[at].sqrt() * x0) / (1 - abar[at]).sqrt()
        z = x0 if to == 0 else add_noise(x0, noise, abar[to].expand(len(z)))
    return z


class DecoderStage:
    """An autoencoder whose decoder is trained, its latents, and who judges what it makes."""

    def __init__(
        self, config: PretrainConfig, encoder: Encoder, corpora: list[tuple[Corpus, float]], paths: dict
    ) -> None:
        self.config, self.corpora = config, corpora
        self.vae, self.device = encoder.vae, next(encoder.vae.parameters()).device
        self.vae.to(memory_format=torch.contiguous_format)
        for part in (self.vae.decoder, self.vae.post_quant_conv):
            part.requires_grad_(True)
        self.eye = load_model().to(self.device).requires_grad_(False)
        torch.manual_seed(config.loop.seed)
        self.critic = PatchCritic().to(self.device)
        self.modules: dict[str, nn.Module] = {"vae": self.vae, "critic": self.critic}
        self.true = {key: np.load(path, mmap_mode="r") for key, path in paths.items()}
        self.made = {key: np.load(_made(path), mmap_mode="r") for key, path in paths.items()}
        self.keys = list(paths)
        self.sources = [
            Source(
                corpora[i][0].arrays[name],
                corpora[i][0].rows["train"],
                corpora[i][1] * (config.decoder.garment_fraction if name == "garment" else 1.0),
            )
            for i, name in self.keys
        ]
        self.heldout = heldout(corpora, config.loop.heldout_rows)
        self.rows = sum(len(source.rows) for source in self.sources)

    def loss(self, step: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the loss of one batch and its parts; `fooling` is one of them once the critic can tell."""
        settings = self.config.decoder
        x, z = self._batch(generator)
        y = self._decode(z)
        parts = {
            "l1": (y - x).abs().mean(),
            "coarse": (F.avg_pool2d(y, 8) - F.avg_pool2d(x, 8)).abs().mean(),
            "gradient": gradient_difference(y, x),
            "ssim": 1 - ssim_map(y, x).mean(),
            "features": feature_distance(self.eye, x, y),
        }
        total = parts["l1"] + parts["coarse"] + 0.5 * parts["gradient"] + 0.2 * parts["ssim"]
        total = total + settings.perceptual_weight * parts["features"]
        parts["critic"] = critic_loss(self.critic, x, y)
        parts["steepness"] = steepness(self.critic, x)
        if step >= settings.adversarial_after:
            parts["fooling"] = fooling_loss(self.critic, y)
            pull = balance(total, parts["fooling"], self.vae.decoder.conv_out.weight)
            total = total + settings.adversarial_weight * pull * parts["fooling"]
        return {"loss": total + parts["critic"] + settings.steepness_weight * parts["steepness"], **parts}

    def _batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw pictures (B, 3, H, W) in [-1, 1] and latents of them (B, C, h, w), true or made."""
        shown, latents = [], []
        for i, row in draw(self.sources, self.config.loop.batch_size, generator=generator):
            is_made = torch.rand(1, generator=generator).item() < self.config.decoder.made_fraction
            latents.append((self.made if is_made else self.true)[self.keys[i]][row].astype(np.float32))
            shown.append(self.sources[i].array[row])
        return pictures(shown).to(self.device), torch.from_numpy(np.stack(latents)).to(self.device)

    def _decode(self, z: Tensor) -> Tensor:
        """Decode latents (B, C, h, w) as a pipeline hands them over, to (B, 3, H, W)."""
        config = self.vae.config
        return self.vae.decode(z / config["scaling_factor"] + (config["shift_factor"] or 0.0)).sample.float()

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Measure on held-out pictures: PSNR in dB of true latents; features and sharpness of true and made ones.

        sharpness: Laplacian energy by the true picture's.
        """
        x, results = self._pictures(), {}
        for name, arrays in (("true", self.true), ("made", self.made)):
            y = self._decoded(arrays)
            distances = [float(feature_distance(self.eye, x[k : k + 4], y[k : k + 4])) for k in range(0, len(x), 4)]
            results[f"{name}_features"] = float(np.mean(distances))
            energy, of_true = (laplacian_energy(one / 2 + 0.5) for one in (y, x))
            results[f"{name}_sharpness"] = float((energy / of_true.clamp(min=1e-9)).mean())
            results[f"{name}_psnr"] = psnr(y / 2, x / 2).mean().item()
        return results

    @torch.no_grad()
    def preview(self, path: Path) -> None:
        """Write held-out pictures over what becomes of their true latents, and of made ones."""
        x = self._pictures()[:8]
        write_grid([x, self._decoded(self.true)[:8], self._decoded(self.made)[:8]], path)

    def export(self, folder: Path) -> Path:
        """Save the autoencoder in diffusers' layout, float16."""
        half_copy(self.vae).save_pretrained(folder / "vae", safe_serialization=True)
        forget_paths(folder / "vae")
        return with_card(folder / "vae", self.config.loop)

    def _pictures(self) -> Tensor:
        return pictures([self.corpora[i][0].arrays["image"][row] for i, row in self.heldout])

    def _decoded(self, arrays: dict[tuple[int, str], np.ndarray]) -> Tensor:
        parts = []
        for start in range(0, len(self.heldout), 4):
            z = np.stack([arrays[i, "image"][row] for i, row in self.heldout[start : start + 4]]).astype(np.float32)
            with autocast(self.device, self.config.loop):
                parts.append(self._decode(torch.from_numpy(z).to(self.device)).float().clamp(-1, 1).cpu())
        return torch.cat(parts)
