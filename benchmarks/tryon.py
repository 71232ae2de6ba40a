"""Try-on at Stable Diffusion 1.5 size, random weights: equality with a plain restatement, and what the fast mode saves.

    python benchmarks/tryon.py equality                 # 512x384, float32, 4 steps, both variants: some 6 GiB
    python benchmarks/tryon.py speed --device cuda      # seconds of each kind of step, plain and fast in one run
    python benchmarks/tryon.py fidelity --corpus FOLDER # the embedded model on held-out people: fast against plain
    python benchmarks/tryon.py parser --images FOLDER   # masks of held-out people: what they repaint, and in what time

Each writes ``benchmarks/results/tryon-NAME.json``.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from identity import core_of, identity_of
from PIL import Image
from report import RESULTS, mean_of, write_report
from safetensors.torch import save_file
from torch import Tensor

from personagen.corpora.photos import is_heldout
from personagen.devices import half_is_fast
from personagen.images import load_image
from personagen.metrics.fidelity import ssim, ssim_in_box
from personagen.models import load_tryon
from personagen.person.body import Body
from personagen.person.joints import Joint
from personagen.person.masks import layers_from_parts
from personagen.person.parser import load_parser
from personagen.person.parts import REGIONS, Part, parts_from_parsing
from personagen.pretrain.joints import close_to
from personagen.tryon.attention import attention_tensors, load_attention, self_attentions, set_cross_attention
from personagen.tryon.fast import FastMode, GarmentMemory, plan_steps
from personagen.tryon.pipeline import TryOnPipeline
from recsys.errors import DataError, ModelError

STEPS = 4


def base(*, seed: int = 0) -> tuple[Any, Any, Any]:
    """UNet, autoencoder and DDIM schedule of Stable Diffusion 1.5 inpainting, with random weights."""
    torch.manual_seed(seed)
    unet: Any = UNet2DConditionModel(in_channels=9, out_channels=4, cross_attention_dim=768, attention_head_dim=8)
    vae: Any = AutoencoderKL.from_config({
        "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
        "scaling_factor": 0.18215,
    })  # fmt: skip
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                              set_alpha_to_one=False, steps_offset=1)  # fmt: skip
    return unet.eval(), vae.eval(), scheduler


def _restated(pipe: Any, person: Tensor, garment: Tensor, mask: Tensor, variant: str, seed: int) -> list[Tensor]:
    """The algorithm, a formula a line; DDIM (Song et al. 2021, eq. 12 and 16) with eta 1, noise predicted."""
    layout = {"memory_format": torch.channels_last}  # of pictures in the pipeline: the same sums in the same order
    encode = lambda pixels: pipe.vae.encode(pixels.contiguous(**layout)).latent_dist.mode() * 0.18215
    z_m, z_g = encode((2 * person - 1) * (1 - mask)), encode(2 * garment - 1)
    rows, m = z_m.shape[2], mask[:, :, ::8, ::8]
    mcat = torch.cat([m, torch.zeros_like(m)], 2)
    own = torch.Generator().manual_seed(int(torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(seed))))
    x = torch.randn((1, 4, rows * (2 if variant == "plain" else 1), z_m.shape[3]), generator=own)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    abar, span, trace = (1 - betas).cumprod(0), 1000 // STEPS, []
    for t in [span * i + 1 for i in reversed(range(STEPS))]:
        rows_of = [torch.cat([x if variant == "plain" else torch.cat([x, g], 2), mcat, torch.cat([z_m, g], 2)], 1)
                   for g in (torch.zeros_like(z_g), z_g)]  # fmt: skip
        without, guided = pipe.unet(torch.cat(rows_of), t, encoder_hidden_states=None).sample.chunk(2)
        eps = (without + 2.5 * (guided - without))[:, :, : x.shape[2]]
        a, b = abar[t], abar[t - span] if t >= span else abar[0]
        x0 = (x - (1 - a).sqrt() * eps) / a.sqrt()
        sigma = ((1 - b) / (1 - a) * (1 - a / b)).sqrt()
        x = b.sqrt() * x0 + (1 - b - sigma**2).sqrt() * eps
        x = x + sigma * torch.randn(x.shape, generator=own)
        trace.append(x)
    return trace


@torch.no_grad()
def equality(args: argparse.Namespace) -> dict:
    """Largest difference of latents between pipeline and restatement in each step; the attention loader's checks."""
    height, width = args.height, args.width
    unet, vae, scheduler = base()
    pipe: Any = TryOnPipeline(vae, unet, scheduler, cross_attention="identity", height=height, width=width, eta=1.0)
    pipe.set_progress_bar_config(disable=True)
    rng = torch.Generator().manual_seed(1)
    # of 256 levels, as the pipeline reads every picture
    person, garment = (torch.randint(256, (1, 3, height, width), generator=rng) / 255 for _ in range(2))
    mask = torch.zeros(1, 1, height, width)
    mask[..., height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 1
    found: dict[str, Any] = {"size": [height, width], "parameters": sum(p.numel() for p in unet.parameters())}
    for variant in ("plain", "corrected"):
        got: list[Tensor] = []
        keep = lambda pipe, i, t, values, got=got: got.append(values["latents"]) or values
        pipe(person, garment, mask, variant=variant, num_inference_steps=STEPS, output_type="latent",
             generator=torch.Generator().manual_seed(3), callback_on_step_end=keep)  # fmt: skip
        wanted = _restated(pipe, person, garment, mask, variant, 3)
        found[variant] = [float((a - b).abs().max()) for a, b in zip(got, wanted, strict=True)]
        print(variant, found[variant], file=sys.stderr, flush=True)
    return found | _attention_checks(unet)


def _attention_checks(unet: Any) -> dict[str, Any]:
    x, found = torch.randn(1, 9, 16, 8), {}
    wanted = unet(x, 10, encoder_hidden_states=None).sample
    with tempfile.TemporaryDirectory() as folder:
        for stride in (8, 7):
            tensors, file = attention_tensors(unet, stride=stride), Path(folder) / "model.safetensors"
            save_file(tensors, file)
            originals = attention_tensors(unet)
            for layer in self_attentions(unet).values():
                for parameter in layer.parameters():
                    parameter.zero_()
            changed = not torch.equal(unet(x, 10, encoder_hidden_states=None).sample, wanted)
            load_attention(unet, file)
            again = torch.equal(unet(x, 10, encoder_hidden_states=None).sample, wanted)
            found[f"stride_{stride}"] = {"tensors": len(tensors), "numbers": sum(t.numel() for t in tensors.values()),
                                         "exact": again and changed and len(originals) == len(tensors)}  # fmt: skip
            tensors.pop(f"{stride}.to_k.weight")
            save_file(tensors, file)
            try:
                load_attention(unet, file)
            except ModelError:
                found[f"stride_{stride}"]["one_missing_refused"] = True
    return found


@torch.no_grad()
def speed(args: argparse.Namespace) -> dict:
    """Seconds of each kind of step, and of a whole run of 20 under the plan of each mode."""
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    unet = base()[0].to(device, dtype)
    set_cross_attention(unet, "zero")
    rows, columns = args.height // 8, args.width // 8
    kinds: dict[str, list[float]] = {name: [] for name in KINDS}

    def timed(batch: int, height: int) -> float:
        x = torch.randn(batch, 9, height, columns, device=device, dtype=dtype)
        start = time.perf_counter() if device.type == "cuda" else time.process_time()
        unet(x, 500, encoder_hidden_states=None)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() if device.type == "cuda" else time.process_time()) - start

    for _ in range(args.repeats):
        kinds["guided"].append(timed(2, 2 * rows))
        kinds["alone"].append(timed(1, 2 * rows))
        with GarmentMemory(unet) as memory:
            kinds["alone_record"].append(timed(1, 2 * rows))
            kinds["guided_record"].append(timed(2, 2 * rows))
            memory.mode = "reuse"
            kinds["guided_reuse"].append(timed(2, rows))
            kinds["alone_reuse"].append(timed(1, rows))
    middle = {name: statistics.median(values) for name, values in kinds.items()}
    name = lambda step, whole: ("guided" if step.guided else "alone") + ("_reuse" if step.reuse else whole)
    cost = lambda mode, whole: sum(middle[name(step, whole)] for step in plan_steps(20, mode, guided=True))
    plain = cost(None, "")
    costs = {label: cost(mode, "_record" if mode and mode.refresh > 1 else "") for label, mode in MODES.items()}
    memory_used = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
    return {"seconds_a_step": {k: round(v, 3) for k, v in middle.items()},
            "seconds_20": {k: round(v, 2) for k, v in costs.items()},
            "times_faster": {k: round(plain / v, 3) for k, v in costs.items()}, "gpu_gib": memory_used,
            "size": [args.height, args.width], "dtype": args.dtype, "device": _device(device)}  # fmt: skip


MEASURES = ("to_plain", "to_plain_in_box", "to_truth_in_box", "closer_than_plain", "seconds")
SPARED = ("spared", "core", "under_1_percent", "head", "hands", "feet", "share", "covered", "limbs", "seconds")
KINDS = ("guided", "guided_record", "guided_reuse", "alone", "alone_record", "alone_reuse")
MODES = {"plain": None, "fast": FastMode(), "every_2": FastMode(0, 1, 2, 2), "every_4": FastMode(0, 1, 4, 4),
         **{f"guide_every_{n}": FastMode(0, 1, n, 1) for n in (3, 4, 5, 6)}, "guide_5_refresh_2": FastMode(0, 1, 5, 2),
         "refresh_3": FastMode(0, 1, 1, 3), "half": FastMode(0, 0.5, 1, 1),
         "half_refresh_2": FastMode(0, 0.5, 1, 2), "half_refresh_3": FastMode(0, 0.5, 1, 3)}  # fmt: skip


@torch.no_grad()
def fidelity(args: argparse.Namespace) -> dict:
    """SSIM of each mode to the plain one's pictures, whole and in the mask's box, and to the true photo."""
    pipe: Any = load_tryon(args.model)
    pipe.set_progress_bar_config(disable=True)
    meta = [json.loads(line) for line in (args.corpus / "meta.jsonl").read_text().splitlines()]
    image, garment, masks = (np.load(args.corpus / f"{n}.npy", mmap_mode="r") for n in ("image", "garment", "mask"))
    rows = [i for i, row in enumerate(meta) if row["split"] == args.split][: args.n]
    found: dict[str, dict[str, list[float]]] = {m: {key: [] for key in MEASURES} for m in args.modes}
    for row in rows:
        pictures: dict[str, Tensor] = {}
        truth = torch.from_numpy(np.array(image[row])).permute(2, 0, 1)[None] / 255
        mask = torch.from_numpy(np.array(masks[row]) > 0)[None, None].float()
        for name in args.modes:
            start = time.process_time()
            pictures[name] = pipe(
                Image.fromarray(image[row]), Image.fromarray(garment[row]), masks[row] > 0, fast=MODES[name],
                output_type="pt", num_inference_steps=args.steps, guidance_scale=args.guidance,
                generator=torch.Generator().manual_seed(row),
            ).images  # fmt: skip
            found[name]["seconds"].append(time.process_time() - start)
            found[name]["to_plain"].append(float(ssim(pictures[name], pictures["plain"])))
            found[name]["to_plain_in_box"].append(float(ssim_in_box(pictures[name], pictures["plain"], mask)))
            found[name]["to_truth_in_box"].append(float(ssim_in_box(pictures[name], truth, mask)))
            ahead = found[name]["to_truth_in_box"][-1] - found["plain"]["to_truth_in_box"][-1]
            found[name]["closer_than_plain"].append(ahead)
    return {"n": len(rows), "steps": args.steps, "guidance": args.guidance,
            "modes": {name: {k: mean_of(v) for k, v in values.items()} for name, values in found.items()}}  # fmt: skip


def parser(args: argparse.Namespace) -> dict:
    """Of held-out photos, for each kind: how often the automatic mask spares the identity by the true parsing."""
    people = args.images / "people"
    labels = json.loads((people / "labels.json").read_text())
    chosen = lambda file: is_heldout(f"people/{file.stem}") == (args.split == "heldout")
    files = [file for file in sorted((people / "photos").glob("*.jpg")) if chosen(file)][: args.n]
    parse = load_parser(args.parser)
    found: dict[str, dict[str, list[float]]] = {kind: {key: [] for key in SPARED} for kind in REGIONS}
    table, joints = np.zeros((len(Part), len(Part)), np.int64), []
    for file in files:
        photo = load_image(file)
        true = parts_from_parsing(np.asarray(Image.open(people / "parsing" / f"{file.stem}.png")), labels)
        start = time.process_time()
        parsed = parse(photo)
        seconds = time.process_time() - start
        np.add.at(table, (true, parsed.parts), 1)
        joints.append(parsed.joints)
        for kind in REGIONS:
            for key, value in _spared(parsed, true, kind, seconds).items():
                found[kind][key].append(value)
    figures = {
        kind: {key: mean_of([value for value in values if not np.isnan(value)]) for key, values in each.items()}
        for kind, each in found.items()
    }
    seconds = statistics.median(value for each in found.values() for value in each["seconds"])
    return {"n": len(files), "split": args.split, "kinds": figures, "seconds_median": round(seconds, 3),
            "bfloat16": half_is_fast(),
            "iou_nine_at_photo_size": round(_iou_nine(table), 4), **_joints_found(args, files, joints)}  # fmt: skip


def _joints_found(args: argparse.Namespace, files: list[Path], found: list[np.ndarray | None]) -> dict[str, Any]:
    """Share of the joints that the teacher (`pretrain/joint_labels.py`) sees which are found near its places."""
    if args.joints is None or any(joints is None for joints in found):
        return {}
    known = json.loads(args.joints.read_text())
    right = []
    for file, joints in zip(files, found, strict=True):
        size = torch.tensor(Image.open(file).size)
        here = torch.from_numpy(np.asarray(joints, np.float32))[None].clone()
        here[..., :2] /= size
        right.append(close_to(here, torch.tensor(known[file.stem])[None], size))
    each = torch.cat(right)
    by_name = {joint.name.lower(): round(float(each[:, joint].nanmean()), 3) for joint in Joint}
    return {"joints_found": round(float(each.nanmean()), 4), "joints_found_each": by_name}


def _iou_nine(table: np.ndarray) -> float:
    """Mean intersection over union from counts (true, found) of pixels; legwear and shoes are one."""
    merged = np.where(np.arange(len(Part)) == Part.SHOES, Part.LEGWEAR, np.arange(len(Part)))
    nine = np.zeros_like(table)
    np.add.at(nine, (merged[:, None], merged[None]), table)
    both = np.diag(nine)
    return float(np.delete(both / np.maximum(nine.sum(0) + nine.sum(1) - both, 1), Part.SHOES).mean())


def _spared(body: Body, true: np.ndarray, kind: str, seconds: float) -> dict[str, float]:
    """Look at one mask. spared: not a pixel of head, hand or foot is repainted; core: but for a seam of .5 % of the
    height along its edge, where the true parsing wavers too; head, hands, feet: the core of each; share: of the
    identity that is repainted; covered, limbs: share of the old garment and of the limbs that is; seconds: parsing and
    mask."""
    start = time.process_time()
    try:
        mask = body.mask(kind)
    except DataError:
        mask = np.zeros(true.shape, bool)
    seconds += time.process_time() - start
    identity = identity_of(true)
    inner = {name: core_of(part) for name, part in identity.items()}
    whole, layers = np.logical_or.reduce(list(identity.values())), layers_from_parts(true, kind=kind)
    share = lambda part: (mask & part).sum() / part.sum() if part.any() else np.nan
    core = {name: float(not (mask & part).any()) for name, part in inner.items()}
    return {"spared": float(not (mask & whole).any()), "core": min(core.values()), **core,
            "share": (mask & whole).sum() / max(1, whole.sum()), "seconds": seconds,
            "under_1_percent": float((mask & whole).sum() < 0.01 * whole.sum()),
            "covered": share(layers.garment), "limbs": share(layers.limbs)}  # fmt: skip


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"one core of {platform.machine()}"


COMMANDS: dict[str, Callable[[argparse.Namespace], dict]] = {
    "equality": equality, "speed": speed, "fidelity": fidelity, "parser": parser,
}  # fmt: skip


def main() -> None:
    """Measure what the arguments name and write the report."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("what", choices=COMMANDS)
    words.add_argument("--height", type=int, default=512)
    words.add_argument("--width", type=int, default=384)
    words.add_argument("--device", default="cpu")
    words.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    words.add_argument("--repeats", type=int, default=1)
    words.add_argument("--model", default="embedded")
    words.add_argument("--corpus", type=Path)
    words.add_argument("--images", type=Path, help="folder that holds people/")
    words.add_argument("--parser", default="embedded")
    words.add_argument("--joints", type=Path, help="joints.json of pretrain/joint_labels.py, to measure joints by")
    words.add_argument("--split", default="heldout", choices=("heldout", "train"))
    words.add_argument("--n", type=int, default=24)
    words.add_argument("--steps", type=int, default=20)
    words.add_argument("--guidance", type=float, default=1.5)
    words.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    words.add_argument("--out", type=Path, default=RESULTS)
    args = words.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    result = COMMANDS[args.what](args)
    report = {**result, "cpu_seconds": round(time.process_time() - start)}
    print(write_report(args.out / f"tryon-{args.what}.json", report))


if __name__ == "__main__":
    main()
