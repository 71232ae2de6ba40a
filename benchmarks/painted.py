"""What the painter makes of words: read back by a probe, and held against true renders by what a blur cannot pass.

Run by `benchmarks/pictures.py text2image` and `personalisation`; the probe is trained by `benchmarks/probe.py`.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from controls import with_controls
from PIL import Image
from probe import Probe, agreement, features, load, read
from sheets import as_bytes, tensor, write_columns
from sittings import SIZE, render_sitting

from personagen.atelier.captions import person_caption
from personagen.atelier.corpus import HELDOUT_SEED, random_sitting
from personagen.metrics.fid import kernel_distance
from personagen.metrics.fidelity import laplacian_energy, permutation_test
from personagen.models import load_text2image
from personagen.vocabulary import REGION


def text2image(args: argparse.Namespace) -> dict:
    """Generate from held-out captions; a probe trained on renders reads the words back."""
    pipe: Any = load_text2image(args.model)
    pipe.set_progress_bar_config(disable=True)
    sittings, others = ([random_sitting(HELDOUT_SEED + first + i) for i in range(args.n)] for first in (80_000, 90_000))
    captions, pictures, seconds = [person_caption(s.outfit, s.scene) for s in sittings], [], []
    for at in range(0, args.n, 8):
        part = captions[at : at + 8]
        noise, start = [torch.Generator().manual_seed(at + j) for j in range(len(part))], time.process_time()
        out = pipe(part, num_inference_steps=args.steps, guidance_scale=args.guidance, output_type="np", height=SIZE[0],
                   width=SIZE[1], generator=noise)  # fmt: skip
        seconds.append((time.process_time() - start) / len(part))
        pictures.append(as_bytes(out.images))
    probe, painted = load(args.probe, SIZE), np.concatenate(pictures)
    truth, reference = (np.stack([render_sitting(s, s.outfit).image for s in group]) for group in (sittings, others))
    shown = min(12, args.n // 2)
    columns = [[painted[i], truth[i], painted[i + shown], truth[i + shown]] for i in range(shown)]
    write_columns(columns, args.sheets / "text2image.png")
    (args.sheets / "text2image.txt").write_text("\n".join(captions[: 2 * shown]))
    groups = {"painted": painted, "coded": _coded(pipe.vae, truth), **with_controls(truth)}
    figures = {name: _figures(probe, shown_as, captions, reference) for name, shown_as in groups.items()}
    return {**figures, "n": args.n, "cpu_seconds_a_picture": round(float(np.median(seconds)), 2)}


@torch.no_grad()
def _coded(vae: Any, pictures: np.ndarray) -> np.ndarray:
    """Pictures (N, H, W, 3) uint8 through the VAE and back: as good as a painter in its latents can be."""
    batches = [tensor(pictures[at : at + 8]) * 2 - 1 for at in range(0, len(pictures), 8)]
    decoded = [vae.decode(vae.encode(one).latent_dist.mode()).sample for one in batches]
    return as_bytes((torch.cat(decoded).clamp(-1, 1) / 2 + 0.5).permute(0, 2, 3, 1).numpy())


def _figures(probe: Probe, pictures: np.ndarray, captions: list[str], reference: np.ndarray) -> dict[str, Any]:
    """What the probe reads of pictures (N, H, W, 3), their KID to other true renders and how sharp they are by them."""
    seen, known = features(probe, pictures), features(probe, reference)
    scale = known.std(0).clamp(min=1e-6)  # else the few widest features decide alone
    energy = [float(laplacian_energy(tensor(part)).mean()) for part in (pictures, reference)]
    return {
        "probe_reads": agreement(read(probe, pictures), captions),
        "kid": round(kernel_distance(seen / scale, known / scale), 4),
        "laplacian_energy_of_true": round(energy[0] / energy[1], 3),
    }


def personalisation(args: argparse.Namespace) -> dict:
    """Looks of many shoppers, read by the probe, against every shopper's true taste: a permutation test.

    The agreement of a picture with a taste is the mean, over the words the probe reads off it, of the taste's weight
    of the word less its mean. Try-on looks are read for the garment put on, scenes for everything.
    """
    from personagen.styling.config import StyleConfig
    from personagen.styling.sources import Atelier
    from personagen.styling.studio import Order, Studio

    args.sheets.mkdir(parents=True, exist_ok=True)
    probe, studio, source = load(args.probe, SIZE), Studio(), Atelier()
    users = source.users()[: args.n]
    tastes = [source.shopper(u).taste for u in users]
    seen: dict[str, list[list[dict[str, str]]]] = {"tryon": [], "scene": []}
    style = StyleConfig(tryon_steps=args.steps, scene_steps=args.steps)
    for user in users:
        looks = list(
            studio.make(
                Order(tuple(source.history(user)), user, looks=2, scenes=1, style=style), args.sheets / f"u{user}"
            )
        )
        for kind in seen:
            chosen = [w.look for w in looks if w.look.kind == kind]
            smaller = [c.image.convert("RGB").resize((SIZE[1], SIZE[0]), Image.Resampling.LANCZOS) for c in chosen]
            small = np.stack([np.asarray(picture) for picture in smaller])
            words = read(probe, small)
            if kind == "tryon":
                lower = [REGION[source.catalog.words(c.item)["kind"]] == "lower" for c in chosen]
                words = [
                    {k: v for k, v in w.items() if k.startswith("lower" if low else "upper")}
                    for w, low in zip(words, lower, strict=True)
                ]
            seen[kind].append(words)
    out: dict[str, dict] = {}
    for kind, pictures in seen.items():
        agreement = np.array([[_agreement(words, taste) for taste in tastes] for words in pictures])
        test = permutation_test(agreement, generator=torch.Generator().manual_seed(0))
        out[kind] = {"agreement": round(test.observed, 4), "permuted_mean": round(test.null_mean, 4),
                     "permuted_std": round(test.null_std, 4), "p": test.p}  # fmt: skip
    return {"users": len(users), **out}


def _agreement(pictures: list[dict[str, str]], taste: dict[str, dict[str, float]]) -> float:
    values = []
    for words in pictures:
        for head, word in words.items():
            weights = taste[head.split()[-1]]
            if word in weights:
                values.append(weights[word] - float(np.mean(list(weights.values()))))
    return float(np.mean(values))
