"""Is a garment's kind found by its photo? Fits the layer of `garment_kind`, and measures it on held-out senders.

    python benchmarks/kinds.py --images DATA/images --fit personagen/models/garment/kinds.safetensors
    python benchmarks/kinds.py --images DATA/images --out benchmarks/results/kinds.json

Fitted to photos of training senders and to renders of training sittings; how much its weights are held down is chosen
by five parts of those senders. Held-out photos and renders are looked at once, for the result. What it is compared with
is the kind whose template overlaps the garment best (`garment_shape`), on some of them.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from report import RESULTS, write_report
from safetensors.torch import save_file
from torch import Tensor

from personagen.atelier.garment import random_garment
from personagen.atelier.render import render_garment
from personagen.corpora.photos import garment_photos, is_heldout
from personagen.files import write_whole
from personagen.images import PALEST, load_image
from personagen.person.parts import region_of
from personagen.provenance import versions
from personagen.vocabulary import KINDS
from personagen.warping.cutout import garment_parts_mask
from personagen.warping.garment_kind import CLOSE, features_of
from personagen.warping.garment_parts import garment_shares
from personagen.warping.garment_shape import cut_of
from recsys.errors import DataError

RENDERS, HELDOUT = 700, 200
DECAYS = (0.0003, 0.001, 0.003, 0.01, 0.03)
"""Weights of the squared layer in the loss, of which one is chosen."""
ROUNDS = 150


def main() -> None:
    """Fit, or measure and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="file of the features, read where it is there")
    parser.add_argument("--fit", type=Path, help="write the layer here")
    parser.add_argument("--templates", type=int, default=100, help="held-out photos for the comparison")
    parser.add_argument("--out", type=Path, default=RESULTS / "kinds.json")
    given = parser.parse_args()
    rows = read(given.images, given.cache)
    if given.fit:
        decay, tried = chosen(rows)
        layer = fitted(rows, rows["train"], decay)
        write_whole(given.fit, lambda part: save_file({name: one.half() for name, one in layer.items()}, part))
        print(json.dumps({"decay": decay, "tried": tried, "train": figures(rows, rows["train"], layer)}))
        return
    from personagen.warping.garment_kind import _layer

    parts = {"photos": rows["photo"] & ~rows["train"], "renders": ~rows["photo"] & ~rows["train"]}
    result = {name: figures(rows, part, _layer()) for name, part in parts.items()}
    files = [file for file, held in zip(rows["files"], parts["photos"], strict=True) if held]
    truth = [int(kind) for kind in rows["kinds"][parts["photos"]]]
    result["templates, some photos"] = templates(files[:: max(1, len(files) // given.templates)],
                                                 truth[:: max(1, len(files) // given.templates)])  # fmt: skip
    print(write_report(given.out, result | {"versions": versions()}))


def read(images: Path, cache: Path | None) -> dict:
    """Read the features of all photos and renders; kinds, who sent them, and which may be learnt from."""
    if cache and cache.is_file():
        found = dict(np.load(cache))
        return found | {"features": torch.from_numpy(found["features"])}
    rows = []
    for file, kind, entry in garment_photos(images):
        try:
            picture = load_image(file, palest=PALEST)
        except DataError:
            continue
        held = is_heldout(f"sender/{entry['sender_id']}")
        rows.append((features_of(garment_shares(picture)), KINDS.index(kind), entry["sender_id"], not held, str(file)))
    for number in range(RENDERS + HELDOUT):
        spec = random_garment(np.random.default_rng(number if number < RENDERS else 5_000_000 + number))
        picture = Image.fromarray(render_garment(spec, size=(384, 288)))
        row = (features_of(garment_shares(picture)), KINDS.index(spec.kind), f"render {number}", number < RENDERS, "")
        rows.append(row)
    features, kinds, senders, train, files = zip(*rows, strict=True)
    found = {"kinds": np.array(kinds), "senders": np.array(senders), "train": np.array(train), "files": np.array(files),
             "photo": np.array([bool(one) for one in files])}  # fmt: skip
    if cache:
        np.savez(cache, allow_pickle=False, features=torch.stack(features).numpy(), **found)
    return {"features": torch.stack(features), **found}


def fitted(rows: dict, part: np.ndarray, decay: float) -> dict[str, Tensor]:
    """Fit the layer to a part (n,) bool of the rows; kinds count by the root of how many there are."""
    x, y = rows["features"][part].float(), torch.from_numpy(rows["kinds"][part])
    mean, spread = x.mean(0), x.std(0) + 0.02
    count = torch.bincount(y, minlength=len(KINDS)).float()
    share = count.clamp(min=1).rsqrt()
    weight = torch.zeros(len(KINDS), x.shape[1], requires_grad=True)
    bias = torch.zeros(len(KINDS), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=ROUNDS, line_search_fn="strong_wolfe")
    scaled = (x - mean) / spread

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = F.cross_entropy(scaled @ weight.T + bias, y, weight=share) + decay * weight.square().sum() / 2
        found.backward()
        return found

    optimizer.step(loss)
    own = weight.detach() / spread
    return {"weight": own, "bias": bias.detach() - own @ mean}


def chosen(rows: dict) -> tuple[float, dict[float, float]]:
    """Choose the decay by five parts of the training senders: the share of photos whose kind is found."""
    fold = np.array([sum(sender.encode()) % 5 for sender in rows["senders"]])
    tried = {}
    for decay in DECAYS:
        right = []
        for at in range(5):
            layer = fitted(rows, rows["train"] & (fold != at), decay)
            part = rows["train"] & rows["photo"] & (fold == at)
            right.append(likeliest(rows, part, layer)[0] == rows["kinds"][part])
        tried[decay] = float(np.concatenate(right).mean())
    return max(tried, key=tried.__getitem__), tried


def likeliest(rows: dict, part: np.ndarray, layer: dict[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Return the two likeliest kinds of each row of a part, (n,) each, and whether they are close (n,)."""
    chances = (rows["features"][part].float() @ layer["weight"].T + layer["bias"]).softmax(1).numpy()
    order = np.argsort(-chances, 1, kind="stable")
    first, second = (np.take_along_axis(chances, order[:, at : at + 1], 1)[:, 0] for at in (0, 1))
    return order[:, 0], np.where(second >= CLOSE * first, order[:, 1], -1)


def figures(rows: dict, part: np.ndarray, layer: dict[str, Tensor]) -> dict:
    """Say how often the kind, and the region, is found, and how often the right one is among those named."""
    found, nearly = likeliest(rows, part, layer)
    truth = rows["kinds"][part]
    region = partial(_region)
    right = region(found) == region(truth)
    of = {KINDS[kind]: float((found == truth)[truth == kind].mean()) for kind in sorted(set(truth.tolist()))}
    return {"n": len(truth), "kind": float((found == truth).mean()), "region": float(right.mean()),
            "two named": float((nearly >= 0).mean()),
            "right kind among those named": float(((found == truth) | (nearly == truth)).mean()),
            "by kind": of}  # fmt: skip


def _region(kinds: np.ndarray) -> np.ndarray:
    return np.array([region_of(KINDS[kind]) for kind in kinds])


def templates(files: list[str], truth: list[int]) -> dict:
    """Say how often the template of the right kind, or region, overlaps a photo's garment best."""
    found = []
    for file in files:
        mask = garment_parts_mask(load_image(file, palest=PALEST))
        overlaps = [-1.0] if mask is None else [cut_of(mask, kind).overlap for kind in KINDS]
        found.append(int(np.argmax(overlaps)))
    kinds = np.array(found)
    right = _region(kinds) == _region(np.array(truth))
    return {"n": len(truth), "kind": float((kinds == truth).mean()), "region": float(right.mean())}


if __name__ == "__main__":
    main()
