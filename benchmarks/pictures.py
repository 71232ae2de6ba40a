"""Measure the embedded models: try-on, text-to-image, real photos, and whether looks follow the user's taste.

    python benchmarks/pictures.py tryon                          # held-out renders, by the network alone
    python benchmarks/pictures.py main-job                       # the same as the stylist dresses them
    python benchmarks/pictures.py as-photos                      # the same, parts and joints found by the parser
    python benchmarks/pictures.py people --corpus FOLDER         # held-out real pairs, by personagen.corpora.photos
    python benchmarks/pictures.py street --images FOLDER         # held-out street photos, shops' garments, found masks
    python benchmarks/pictures.py text2image --probe FOLDER      # probe: benchmarks/probe.py
    python benchmarks/pictures.py personalisation --probe FOLDER

Each writes ``benchmarks/results/pictures-NAME.json`` and, for looking at, a contact sheet into ``--sheets``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from controls import blurred, shuffled
from dressing import CHANGED
from identity import identity_kept
from painted import personalisation, text2image
from PIL import Image
from report import RESULTS, mean_of, write_report
from sheets import as_bytes, tensor, write_columns
from shop import Shelf, shop_garments, two_garments
from sittings import SIZE, Case, draw_cases, render_sitting, worn_with

from personagen.atelier.agnostic import agnostic_mask
from personagen.atelier.render import LABEL, Render, render_garment
from personagen.corpora.photos import is_heldout
from personagen.corpora.renders import body_of_render
from personagen.images import fit, load_image
from personagen.metrics.fidelity import (
    laplacian_energy,
    region_features,
    retrieval_ranks,
    ssim_in_box,
    takes_the_colours,
)
from personagen.models import load_tryon
from personagen.person.body import Body
from personagen.person.parser import Parser, load_parser
from personagen.person.parts import Part, parts_from_parsing, split_skin
from personagen.tryon.dress import Piece, cut_from_photos, dress, dress_each
from personagen.vocabulary import REGION
from recsys.errors import DataError


def _dress(pipe, person: np.ndarray, photos: list[np.ndarray], mask: np.ndarray, seed: int, args) -> np.ndarray:
    """The person in each garment, as the network alone paints it: (N, H, W, 3) uint8."""
    out = pipe(
        Image.fromarray(person),
        [Image.fromarray(p) for p in photos],
        mask,
        num_inference_steps=args.steps,
        guidance_scale=args.guidance,
        output_type="np",
        generator=torch.Generator().manual_seed(seed),
    )
    return as_bytes(np.stack(list(out.images)))


def _by_the_network(pipe, case: Case, before: Render, photos: list[np.ndarray], seed: int, args) -> np.ndarray:
    mask = agnostic_mask(before, case[1].region, body=case[0].body, camera=case[0].camera)
    return _dress(pipe, before.image, photos, mask, seed, args)


_parser = cache(load_parser)  # read once, not for every case


def _as_the_main_job(pipe, case: Case, before: Render, photos: list[np.ndarray], seed: int, args) -> np.ndarray:
    """The person in each garment, as the stylist dresses them, with the exact body: (N, H, W, 3) uint8."""
    body = body_of_render(before, case[0].body, case[0].camera)
    return _dressed(pipe, case, before, body, photos, seed, args)


def _as_photos(pipe, case: Case, before: Render, photos: list[np.ndarray], seed: int, args) -> np.ndarray:
    """The same with the body that the parser finds, as `tryon wear` does it with a photo: (N, H, W, 3) uint8."""
    return _dressed(pipe, case, before, _parser()(Image.fromarray(before.image)), photos, seed, args)


def _dressed(
    pipe, case: Case, before: Render, body: Body, photos: list[np.ndarray], seed: int, args: argparse.Namespace
) -> np.ndarray:
    _, garment, others = case
    pieces = [Piece(Image.fromarray(p), g.kind) for p, g in zip(photos, (garment, others[1]), strict=True)]
    pieces, _ = cut_from_photos(pieces, pipe, parser=_parser())
    done = dress_each(
        pipe,
        Image.fromarray(before.image),
        body,
        pieces,
        num_inference_steps=args.steps,
        guidance_scale=args.guidance,
        generators=[torch.Generator().manual_seed(seed) for _ in pieces],
    )
    return np.stack([np.asarray(one) for one in done])


def tryon(args: argparse.Namespace) -> dict:
    """Dress held-out people in held-out garments by the network alone, and compare with the true render."""
    return _tryon(args, _by_the_network)


def main_job(args: argparse.Namespace) -> dict:
    """The same as the main job does it: the old garment off, the new one laid along the exact joints, light on it."""
    return _tryon(args, _as_the_main_job)


def as_photos(args: argparse.Namespace) -> dict:
    """The same with parts and joints as the parser finds them in the render, as if it were a photo."""
    return _tryon(args, _as_photos)


def _tryon(args: argparse.Namespace, dressed: Callable[..., np.ndarray]) -> dict:
    pipe, columns = load_tryon(args.model), []
    pipe.set_progress_bar_config(disable=True)
    cases = draw_cases(args.n)
    truths = [render_sitting(sitting, worn_with(sitting, garment)) for sitting, garment, _ in cases]
    true = np.stack([truth.image for truth in truths])
    controls = {"blurred": blurred(true), "shuffled": shuffled(true)}
    found: dict[str, dict[str, list[float]]] = {}
    refused: list[str] = []
    for at, (case, truth) in enumerate(zip(cases, truths, strict=True)):
        sitting, garment, others = case
        before = render_sitting(sitting, worn_with(sitting, others[0]))
        mask = agnostic_mask(before, garment.region, body=sitting.body, camera=sitting.camera)
        photo, swap = render_garment(garment, size=SIZE), render_garment(others[1], size=SIZE)
        start = time.process_time()
        try:
            result, swapped = dressed(pipe, case, before, [photo, swap], at, args)
        except DataError as error:
            refused.append(f"{sitting.seed}: {error}")
            continue
        seconds = (time.process_time() - start) / 2
        shelf = [truth.image] + [render_sitting(sitting, worn_with(sitting, o)).image for o in others]
        region = mask & (truth.labels == LABEL["outer" if garment.kind == "jacket" else garment.region])
        old = mask & (np.abs(before.image.astype(float) - truth.image).mean(-1) > CHANGED)
        swap_test = (photo, swap) if garment.colour != others[1].colour else None
        answers = {"result": result, **{name: pictures[at] for name, pictures in controls.items()}}
        for name, picture in answers.items():
            figures = found.setdefault(name, {})
            for key, value in _likeness(picture, shelf, mask, region, swap_test).items():
                figures.setdefault(key, []).append(value)
        own = found["result"]
        stays = np.abs(result.astype(float) - before.image).mean(-1) < CHANGED / 2
        own.setdefault("old_colour", []).append(float((old & stays)[mask].mean()))
        own.setdefault("outside_unchanged", []).append(float(np.array_equal(result[~mask], before.image[~mask])))
        own.setdefault("seconds", []).append(seconds)
        if swap_test:
            follows = float(takes_the_colours(swapped, region, swap, [photo])[0])
            own.setdefault("swapped_colours_nearer_to_the_other", []).append(follows)
        if at < 12:
            hole = np.where(mask[..., None], 128, before.image).astype(np.uint8)
            columns.append([before.image, hole, photo, result, truth.image, swap, swapped])
    write_columns(columns, args.sheets / f"tryon-{dressed.__name__.strip('_')}.png")
    seconds = found["result"].pop("seconds")
    of = {name: {key: mean_of(values) for key, values in figures.items()} for name, figures in found.items()}
    return {**of.pop("result"), **of, "refused": refused, "cpu_seconds_a_picture": round(float(np.median(seconds)), 2)}


def _likeness(
    picture: np.ndarray,
    shelf: list[np.ndarray],
    mask: np.ndarray,
    region: np.ndarray,
    swap_test: tuple[np.ndarray, np.ndarray] | None,
) -> dict[str, float]:
    """How a picture (H, W, 3) resembles the first of a shelf of twenty true ones, of other garments."""
    known = np.stack([region_features(one, mask) for one in shelf])[None]
    rank = retrieval_ranks(region_features(picture, mask)[None], known, np.array([0]))[0]
    one, other = (tensor(p[None]) for p in (picture, shelf[0]))
    cloth = torch.from_numpy(region)[None, None]
    energy, true = (float(laplacian_energy(p, mask=cloth)) for p in (one, other))
    like = {"retrieval_top1_of_20": float(rank == 1),
            "ssim_in_mask_box": float(ssim_in_box(one, other, torch.from_numpy(mask)[None, None].float())),
            "laplacian_energy_of_true": energy / max(true, 1e-9)}  # fmt: skip
    if swap_test:
        like["colours_nearer_to_given"] = float(takes_the_colours(picture, region, swap_test[0], [swap_test[1]])[0])
    return like


def _middle(mask: np.ndarray) -> np.ndarray:
    """The middle of a mask's box: on street photos, where the garment is sure to be. The mask where that is empty."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    tall, wide = rows[-1] - rows[0], cols[-1] - cols[0]
    out = np.zeros_like(mask)
    out[
        rows[0] + tall * 15 // 100 : rows[-1] - tall * 15 // 100,
        cols[0] + wide * 30 // 100 : cols[-1] - wide * 30 // 100,
    ] = True
    inner = out & mask
    return inner if inner.any() else mask


def people(args: argparse.Namespace) -> dict:
    """Held-out real pairs: are the result's colours nearer to the given garment than to a swapped one?"""
    pipe, columns = load_tryon(args.model), []
    pipe.set_progress_bar_config(disable=True)
    meta = [json.loads(line) for line in (args.corpus / "meta.jsonl").read_text().splitlines()]
    image, garment, masks = (np.load(args.corpus / f"{n}.npy", mmap_mode="r") for n in ("image", "garment", "mask"))
    held = [i for i, m in enumerate(meta) if m["split"] == "heldout"]
    own, other = [], []
    for at, i in enumerate(np.random.default_rng(0).permutation(held)[: args.n]):
        mask, region = masks[i] > 0, REGION.get(meta[i]["kind"])
        like = [j for j in held if REGION.get(meta[j]["kind"]) == region and meta[j]["colour"] != meta[i]["colour"]]
        swap = int(np.random.default_rng(int(i)).choice(like))
        result, swapped = _dress(pipe, image[i], [garment[i], garment[swap]], mask, at, args)
        middle = _middle(mask)
        own.append(float(takes_the_colours(result, middle, garment[i], [garment[swap]])[0]))
        other.append(float(takes_the_colours(swapped, middle, garment[swap], [garment[i]])[0]))
        if at < 12:
            hole = np.where(mask[..., None], 128, image[i]).astype(np.uint8)
            columns.append([image[i], hole, garment[i], result, garment[swap], swapped])
    write_columns(columns, args.sheets / "people.png")
    return {"given_nearer_than_swapped": mean_of(own), "swapped_in_nearer_than_own": mean_of(other)}


Seen = tuple[dict[str, float], tuple[Any, ...]]
"""Figures of one photo, and its pictures."""
SHORT_SLEEVES = {"T-Shirt", "Polo", "Top"}
LONG, BARE = 0.05, 0.10
"""Bare arms as a share of the clothes above the waist: below the first sleeves are long, from the second arms show."""


def street(args: argparse.Namespace) -> dict:
    """Held-out street photos and shops' garment photos, masks found by the parser: what `tryon wear --zoom true` does.

    Colours and swap test as for `people`. Long to short: of persons in long sleeves who are given a short-sleeved top,
    how many show their arms afterwards, as the parser reads the result.
    """
    pipe, parse, shelf = load_tryon(args.model), load_parser(), shop_garments(args.images)
    pipe.set_progress_bar_config(disable=True)
    files = [f for f in sorted((args.images / "people" / "photos").glob("*.jpg")) if is_heldout(f"people/{f.stem}")]
    chosen = np.random.default_rng(0).permutation(np.array(files))[: args.n]
    cases = [_street_case(args, pipe, parse, shelf, at, file) for at, file in enumerate(chosen)]
    kept = [case for case in cases if case is not None]
    mean = lambda key: mean_of([figures[key] for figures, _ in kept])
    long = [figures for figures, _ in kept if "bared" in figures]
    columns = [_column(pictures) for _, pictures in kept[:16]]
    for at in range(0, len(columns), 8):
        write_columns(columns[at : at + 8], args.sheets / f"street-{at // 8 + 1}.png")
    return {"photos": len(kept), "refused": len(cases) - len(kept),
            "garments_not_cut_out": round(sum(f["uncut"] for f, _ in kept) / sum(2 + f["uncut"] for f, _ in kept), 3),
            "given_nearer_than_swapped": mean("own"),
            "swapped_in_nearer_than_own": mean("other"), "outside_unchanged": mean("same"),
            "identity_unchanged": mean("identity"), "identity_core_unchanged": mean("identity_core"),
            "long_to_short": {"cases": len(long), "arms_show_after": int(sum(one["bared"] for one in long)),
                              "arms_read_before": int(sum(one["bare_before"] for one in long))},
            "cpu_seconds_a_picture": round(float(np.median([f["seconds"] for f, _ in kept])), 2)}  # fmt: skip


def _street_case(args: argparse.Namespace, pipe: Any, parse: Parser, shelf: Shelf, at: int, file: Path) -> Seen | None:
    """Dress one photo in two garments: figures and pictures; None where no mask is found."""
    rng, photo = np.random.default_rng(at), load_image(file)
    body = parse(photo)
    region = ("upper", "upper", "upper", "lower", "dress")[at % 5]
    (label, kind, garment), (_, other, swap), uncut = two_garments(shelf[region], rng, parse)
    try:
        mask = body.mask(region)
    except DataError:
        return None
    start = time.process_time()
    settings = {"zoom": True, "num_inference_steps": args.steps, "guidance_scale": args.guidance}
    dressed = [
        dress(pipe, photo, body, [piece], generator=torch.Generator().manual_seed(at), **settings)
        for piece in (Piece(Image.fromarray(garment), kind), Piece(Image.fromarray(swap), other))
    ]
    seconds = (time.process_time() - start) / 2
    before, (result, swapped), middle = np.asarray(photo), (np.asarray(one) for one in dressed), _middle(mask)
    outside = ~(mask | body.mask("dress"))  # the mask grows where the garment hangs over more, up to a dress's
    found = {"own": float(takes_the_colours(result, middle, garment, [swap])[0]),
             "other": float(takes_the_colours(swapped, middle, swap, [garment])[0]),
             "same": float(np.array_equal(result[outside], before[outside])), "seconds": seconds,
             "uncut": uncut}  # fmt: skip
    labels = json.loads((args.images / "people" / "labels.json").read_text())
    true = parts_from_parsing(np.asarray(Image.open(file.parents[1] / "parsing" / f"{file.stem}.png")), labels)
    found |= identity_kept(true, before, [result, swapped])
    if region == "upper" and label in SHORT_SLEEVES and _arms(true) < LONG:
        found |= {"bared": float(_arms(parse(dressed[0]).parts) >= BARE),
                  "bare_before": float(_arms(parse(photo).parts) >= BARE)}  # fmt: skip
    return found, (photo, mask, garment, dressed[0], swap, dressed[1])


def _column(pictures: tuple[Any, ...]) -> list[np.ndarray]:
    """Photo, photo without what is repainted, garment, result, other garment, its result: at one size."""
    photo, mask, garment, result, swap, swapped = pictures
    hole = Image.fromarray(np.where(mask[..., None], 128, np.asarray(photo)).astype(np.uint8))
    shown = [photo, hole, Image.fromarray(garment), result, Image.fromarray(swap), swapped]
    return [np.asarray(fit(one, size=(288, 216))[0]) for one in shown]


def _arms(parts: np.ndarray) -> float:
    """Bare arms as a share of the clothes above the waist."""
    clothes = np.isin(parts, (Part.UPPER, Part.OUTER, Part.DRESS)).sum()
    return float(split_skin(parts)[0].sum() / max(1, clothes))


COMMANDS: dict[str, Callable[[argparse.Namespace], dict]] = {
    "tryon": tryon,
    "main-job": main_job,
    "as-photos": as_photos,
    "people": people,
    "street": street,
    "text2image": text2image,
    "personalisation": personalisation,
}


def main() -> None:
    """Measure what the arguments name and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=COMMANDS)
    parser.add_argument("--model", default="embedded", help="name or folder of the model")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=2.0, help="2 for text2image, 1.5 with 8 steps for try-on")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--images", type=Path, help="folder that holds people/ and garments/")
    parser.add_argument("--probe", type=Path)
    parser.add_argument("--sheets", type=Path, default=Path("runs/sheets"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    result = COMMANDS[args.what](args)
    guidance = {} if args.what == "personalisation" else {"guidance": args.guidance}  # there the Stylist has its own
    report = {"steps": args.steps, **guidance, **result, "cpu_seconds": round(time.process_time() - start)}
    print(write_report(args.out / f"pictures-{args.what}.json", report))


if __name__ == "__main__":
    main()
