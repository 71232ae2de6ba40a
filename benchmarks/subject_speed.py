"""Compare the speed and memory of subject training with a plain loop of the same settings, side by side in one run.

    python benchmarks/subject_speed.py --size embedded                                  # the embedded model
    python benchmarks/subject_speed.py --size sd15 --resolution 512 --steps 3           # SD 1.5's size, random weights
    python benchmarks/subject_speed.py --size sdxl --resolution 1024 --device cuda --precision bf16 --checkpointing

The plain loop is what one writes first: float32, pictures and prompts encoded at every step, everything on the device,
AdamW as it comes. Each of the two runs in a process of its own. Writes benchmarks/results/subject-speed-SIZE.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from report import RESULTS, write_report
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from personagen.adapters.lora import Lora, attach
from personagen.models import load_text2image
from personagen.models.build import build_scheduler, train_tokenizer
from personagen.subject import SubjectConfig, resolve
from personagen.subject.base import encode_prompts, noise_schedule, predict, scale_factor
from personagen.subject.examples import Example, PromptCache
from personagen.subject.train import Learner, prompts_of

PROMPT = "a photo of a sks dog"


def build(size: str) -> Any:
    """Build a pipeline of a known size with random weights, or load the embedded one."""
    if size == "embedded":
        return load_text2image()
    tokenizer = train_tokenizer([PROMPT], size=700, length=77)
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
    )
    shared = {
        "vae": vae,
        "tokenizer": tokenizer,
        "scheduler": build_scheduler(prediction_type="epsilon", rescale_betas_zero_snr=False),
    }
    if size == "sd15":
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        extra: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        return StableDiffusionPipeline(
            unet=unet, text_encoder=CLIPTextModel(_text(tokenizer, 768, 12)), **shared, **extra
        )
    unet = UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    encoders = {
        "text_encoder": CLIPTextModel(_text(tokenizer, 768, 12)),
        "text_encoder_2": CLIPTextModelWithProjection(_text(tokenizer, 1280, 32)),
    }
    return StableDiffusionXLPipeline(unet=unet, tokenizer_2=tokenizer, add_watermarker=False, **encoders, **shared)


def _text(tokenizer: Any, width: int, layers: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def pixels(args: argparse.Namespace) -> torch.Tensor:
    """Draw one picture of noise (1, 3, H, W) in [-1, 1]."""
    noise = np.random.default_rng(0).random((1, 3, args.resolution, args.resolution), dtype=np.float32)
    return torch.from_numpy(noise * 2 - 1)


def run_plain(pipe: Any, args: argparse.Namespace) -> Any:
    """Return a function that does one step of the plain loop."""
    pipe.to(args.device)
    for module in (pipe.vae, pipe.text_encoder, getattr(pipe, "text_encoder_2", None)):
        if module is not None:
            module.requires_grad_(False)
    attach(pipe, Lora(rank=8))
    schedule, picture = noise_schedule(pipe), pixels(args).repeat(args.batch, 1, 1, 1)
    parameters = [parameter for parameter in pipe.unet.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    side = args.resolution
    ids = torch.tensor([[side, side, 0, 0, side, side]] * args.batch, dtype=torch.float32, device=args.device)
    abar = schedule.abar.to(args.device)

    def step() -> float:
        with torch.no_grad():
            x0 = pipe.vae.encode(picture.to(args.device)).latent_dist.sample() * pipe.vae.config.scaling_factor
            text = encode_prompts(pipe, [PROMPT] * args.batch)
        noise, t = torch.randn_like(x0), torch.randint(0, len(abar), (args.batch,), device=args.device)
        a = abar[t].reshape(-1, 1, 1, 1)
        x_t = a.sqrt() * x0 + (1 - a).sqrt() * noise
        target = noise if schedule.prediction == "epsilon" else a.sqrt() * noise - (1 - a).sqrt() * x0
        loss = F.mse_loss(predict(pipe.unet, x_t, t, text, ids), target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return float(loss.detach())

    return step


def run_ours(pipe: Any, args: argparse.Namespace) -> Any:
    """Return a function that does one step of this project's training."""
    config = resolve(
        SubjectConfig(
            instance_data_dir=".",
            name="dog",
            rank=8,
            learning_rate=1e-4,
            lora_feed_forward=False,
            lr_scheduler="constant",
            max_train_steps=10_000,
            train_batch_size=args.batch,
            mixed_precision=args.precision,
            gradient_checkpointing=args.checkpointing,
            checkpointing_steps=1_000_000,
        )
    )
    cells = args.resolution // scale_factor(pipe)
    with torch.no_grad():  # any latents take the same time
        mean = torch.zeros(pipe.vae.config.latent_channels, cells, cells)
    side = float(args.resolution)
    learner = Learner(pipe.to(args.device), config)
    sizes = torch.tensor([side, side, 0, 0, side, side])
    learner.instance.append(Example(PROMPT, mean, torch.ones_like(mean), None, None, sizes))
    learner.prompts = PromptCache()
    learner.prompts.fill(pipe, prompts_of(learner))
    learner.park()
    if args.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    learner.schedule = type(learner.schedule)(learner.schedule.abar.to(args.device), learner.schedule.prediction)
    learner.train_mode()
    return lambda: learner.advance().losses["loss"]


def one(args: argparse.Namespace) -> dict[str, float]:
    """Time one of the two in this process."""
    torch.manual_seed(0)
    step = {"plain": run_plain, "ours": run_ours}[args.variant](build(args.size), args)
    step()
    wait = torch.cuda.synchronize if args.device == "cuda" else (lambda: None)
    wait()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(args.steps):
        step()
    wait()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = (
        torch.cuda.max_memory_allocated()
        if args.device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return {"steps_per_second": args.steps / wall, "steps_per_cpu_second": args.steps / cpu, "peak_mib": peak / 2**20}


def main() -> None:
    """Measure both loops and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("embedded", "sd15", "sdxl"), default="embedded")
    parser.add_argument("--resolution", type=int, default=160)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("no", "bf16", "fp16"), default="no")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--variant", choices=("plain", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.variant:
        print(json.dumps(one(args)))
        return
    found: dict[str, Any] = {}
    for variant in ("plain", "ours"):
        command = [sys.executable, __file__, *sys.argv[1:], "--variant", variant]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        found[variant] = json.loads(done.stdout.strip().splitlines()[-1])
    report = {
        **found,
        "speed": found["ours"]["steps_per_second"] / found["plain"]["steps_per_second"],
        "speed_cpu": found["ours"]["steps_per_cpu_second"] / found["plain"]["steps_per_cpu_second"],
        "memory": found["ours"]["peak_mib"] / found["plain"]["peak_mib"],
        "device": torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
    }
    print(write_report(args.out / f"subject-speed-{args.size}.json", report))


if __name__ == "__main__":
    main()
