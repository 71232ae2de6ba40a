"""Stage "text2image": train UNet and text encoder; write them with the autoencoder as a StableDiffusionPipeline."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn

from recsys.types import Step

from ..corpora.corpus import Corpus, Source, draw, heldout, open_corpora, pictures
from ..devices import choose_device
from ..models.build import build_scheduler, build_unet, start_silent
from ..quiet import quiet
from ..training.card import with_card
from ..training.latents import cache_latents, latent_files, load_encoder
from ..training.loop import autocast
from ..training.objective import add_noise, prediction_target, snr_weights, stratified_timesteps, weighted_error
from ..training.preview import write_grid
from .config import PretrainConfig
from .save import at_rest, forget_paths, half_copy, write_tokenizer_files
from .start import load_unet, run_stage
from .text import CAPTIONS, load_text


def train_text2image(config: PretrainConfig) -> Iterator[Step]:
    """Cache latents, then train text encoder and UNet together; write the pipeline to `output_dir/embedded`."""
    device = choose_device(config.loop.device)
    encoder = load_encoder(config.text2image.vae_dir, device=device, bf16=config.loop.mixed_precision == "bf16")
    corpora = open_corpora(config.corpora, size=(config.height, config.width))
    paths = latent_files(corpora, CAPTIONS, Path(config.output_dir) / "latents")
    for (i, name), path in paths.items():
        for share in cache_latents(encoder, corpora[i][0], name, path):
            yield Step(0, 0.0, {}, {"cached": share}, 0.0)
    yield from run_stage(Text2ImageStage(config, encoder, corpora, paths), config)


class Text2ImageStage:
    """Text encoder and UNet, their latents and captions."""

    def __init__(self, config: PretrainConfig, encoder, corpora: list[tuple[Corpus, float]], paths: dict) -> None:
        size = config.text2image
        self.config, self.encoder, self.corpora = config, encoder, corpora
        self.device = next(encoder.vae.parameters()).device
        self.text_encoder, self.tokenizer = load_text(size.text_dir)
        latents = {key: np.load(path, mmap_mode="r") for key, path in paths.items()}
        self.latents, self.tokens, self.sources = [], [], []
        for i, (corpus, weight) in enumerate(corpora):
            share = size.garment_fraction if "garment" in corpus.arrays else 0.0
            for name, part in (("image", 1 - share), ("garment", share)):
                if (i, name) in latents and part > 0:
                    self.sources.append(Source(latents[i, name], corpus.rows["train"], weight * part))
                    self.tokens.append(self._tokenize([row.get(CAPTIONS[name], "") for row in corpus.meta]))
        self.unet = _unet(config, latents=self.sources[0].array, width=self.text_encoder.config.hidden_size)
        self.modules: dict[str, nn.Module] = {
            "text_encoder": self.text_encoder.to(self.device),
            "unet": self.unet.to(self.device),
        }
        self.scheduler = build_scheduler(
            prediction_type=config.prediction_type, rescale_betas_zero_snr=config.rescale_betas_zero_snr
        )
        self.abar = self.scheduler.alphas_cumprod.to(self.device)
        self.empty = self._tokenize([""])
        self.heldout = heldout(corpora, config.loop.heldout_rows)
        self.heldout_latents = np.stack([latents[i, "image"][row] for i, row in self.heldout]).astype(np.float32)
        self.heldout_tokens = self._tokenize([corpora[i][0].meta[row].get("caption", "") for i, row in self.heldout])
        self.rows = sum(len(source.rows) for source in self.sources)

    def loss(self, step: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the weighted error of one random batch, captions dropped at random, and the plain one."""
        drawn = draw(self.sources, self.config.loop.batch_size, generator=generator)
        x0 = torch.from_numpy(np.stack([self.sources[i].array[row] for i, row in drawn]).astype(np.float32))
        tokens = torch.stack([self.tokens[i][row] for i, row in drawn])
        dropped = torch.rand(len(tokens), generator=generator) < self.config.text2image.caption_dropout
        return self._error(x0, torch.where(dropped[:, None], self.empty, tokens), generator)

    def _error(self, x0: Tensor, tokens: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        config = self.config
        t = stratified_timesteps(len(x0), n_steps=len(self.abar), shift=config.timestep_shift, generator=generator).to(
            self.device
        )
        noise, x0 = torch.randn(x0.shape, generator=generator).to(self.device), x0.to(self.device)
        abar = self.abar[t]
        context = self.text_encoder(tokens.to(self.device))[0]
        output = self.unet(add_noise(x0, noise, abar), t, encoder_hidden_states=context).sample
        target = prediction_target(x0, noise, abar, prediction=config.prediction_type)
        weights = snr_weights(
            abar, prediction=config.prediction_type, weighting=config.weighting, gamma=config.snr_gamma
        )
        return {"loss": weighted_error(output, target, weights=weights), "mse": weighted_error(output, target).detach()}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return the errors on held-out rows, with the right captions, and with the next row's ("swapped")."""
        swapped = self.heldout_tokens.roll(1, dims=0)
        own, other = self._heldout_error(self.heldout_tokens), self._heldout_error(swapped)
        return {"loss": own["loss"], "mse": own["mse"], "swapped_caption_mse": other["mse"]}

    def _heldout_error(self, tokens: Tensor) -> dict[str, float]:
        generator, sums = torch.Generator().manual_seed(0), {"loss": 0.0, "mse": 0.0}
        for start in range(0, len(tokens), 8):
            part = slice(start, start + 8)
            with autocast(self.device, self.config.loop):
                errors = self._error(torch.from_numpy(self.heldout_latents[part]), tokens[part], generator)
            sums = {name: value + float(errors[name]) * len(tokens[part]) / len(tokens) for name, value in sums.items()}
        return sums

    def pipeline(self) -> StableDiffusionPipeline:
        """Join the components, as they are now, to a pipeline."""
        return StableDiffusionPipeline(
            vae=self.encoder.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=self.scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    def preview(self, path: Path) -> None:
        """Write the pictures of the fixed prompts, always from the same noise, over as many held-out pictures."""
        size, prompts = self.config.text2image, list(self.config.text2image.prompts)
        pipe = self.pipeline()
        pipe.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(1)
        with autocast(self.device, self.config.loop):
            painted = pipe(
                prompts,
                height=self.config.height,
                width=self.config.width,
                num_inference_steps=size.preview_steps,
                guidance_scale=size.guidance_scale,
                generator=generator,
                output_type="pt",
            ).images
        truth = pictures([self.corpora[i][0].arrays["image"][row] for i, row in self.heldout[: len(prompts)]])
        write_grid([painted.float().cpu() * 2 - 1, truth], path)

    def export(self, folder: Path) -> Path:
        """Save a StableDiffusionPipeline in float16, with the tokenizer files that older tools read."""
        pipe = self.pipeline()
        copies = {name: half_copy(getattr(pipe, name)) for name in ("vae", "text_encoder", "unet")}
        finished = StableDiffusionPipeline(
            **copies,
            tokenizer=at_rest(self.tokenizer),
            scheduler=self.scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        with quiet():
            finished.save_pretrained(folder / "embedded", safe_serialization=True)
        write_tokenizer_files(self.tokenizer, folder / "embedded" / "tokenizer")
        forget_paths(folder / "embedded")
        return with_card(folder / "embedded", self.config.loop)

    def _tokenize(self, texts: list[str]) -> Tensor:
        """Return token ids (N, length) as StableDiffusionPipeline makes them: padded, too long ones cut."""
        return self.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids


def _unet(config: PretrainConfig, *, latents: np.ndarray, width: int) -> UNet2DConditionModel:
    """Read the UNet to start from, or build one for latents (N, C, h, w) and texts of `width`, the same for a seed."""
    if config.text2image.unet_dir is not None:
        return load_unet(config.text2image.unet_dir, setting="text2image.unet_dir")
    size, channels, cells = config.text2image, latents.shape[1], latents.shape[2:]
    torch.manual_seed(config.loop.seed)
    unet = build_unet(
        in_channels=channels,
        out_channels=channels,
        block_out_channels=size.block_out_channels,
        layers_per_block=size.layers_per_block,
        head_width=size.head_width,
        norm_num_groups=size.norm_num_groups,
        cross_attention_dim=width,
        sample_size=(cells[0], cells[1]),
    )
    start_silent(unet)
    return unet
