"""Measure the embedded models: try-on, text-to-image, real photos, and whether looks follow the user's taste.

    python benchmarks/pictures.py tryon                          # held-out renders, by the network alone
    python benchmarks/pictures.py main-job                       # the same as the stylist dresses them
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
from identity import identity_kept
from PIL import Image
from report import RESULTS, mean_of, write_report
from shop import Shelf, shop_garments, two_garments
from sittings import SIZE, Case, draw_cases, render_sitting, worn_with

from personagen.atelier.agnostic import agnostic_mask
from personagen.atelier.captions import person_caption
from personagen.atelier.corpus import HELDOUT_SEED, random_sitting
from personagen.atelier.render import LABEL, Render, render_garment
from personagen.corpora.photos import is_heldout
from personagen.corpora.renders import body_of_render
from personagen.images import fit, load_image
from personagen.metrics.fidelity import (
    permutation_test,
    region_features,
    retrieval_ranks,
    ssim_in_box,
    takes_the_colours,
)
from personagen.models import load_text2image, load_tryon
from personagen.person.parser import Parser, load_parser
from personagen.person.parts import Part, parts_from_parsing, split_skin
from personagen.tryon.dress import Piece, cut_from_photos, dress, dress_each
from personagen.vocabulary import REGION
from recsys.errors import DataError


def _tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255.0


def _uint8(pictures: np.ndarray) -> np.ndarray:
    return (pictures * 255 + 0.5).astype(np.uint8)


def _sheet(columns: list[list[np.ndarray]], path: Path) -> None:
    """Write a contact sheet, a column a case."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([np.concatenate(c, 0) for c in columns], 1)).save(path)


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
    return _uint8(np.stack(list(out.images)))


def _by_the_network(pipe, case: Case, before: Render, photos: list[np.ndarray], seed: int, args) -> np.ndarray:
    mask = agnostic_mask(before, case[1].region, body=case[0].body, camera=case[0].camera)
    return _dress(pipe, before.image, photos, mask, seed, args)


_parser = cache(load_parser)  # read once, not for every case


def _as_the_main_job(pipe, case: Case, before: Render, photos: list[np.ndarray], seed: int, args) -> np.ndarray:
    """The person in each garment, as the stylist dresses them, with the exact body: (N, H, W, 3) uint8."""
    sitting, garment, others = case
    pieces = [Piece(Image.fromarray(p), g.kind) for p, g in zip(photos, (garment, others[1]), strict=True)]
    pieces, _ = cut_from_photos(pieces, pipe, parser=_parser())
    done = dress_each(
        pipe,
        Image.fromarray(before.image),
        body_of_render(before, sitting.body, sitting.camera),
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


def _tryon(args: argparse.Namespace, dressed: Callable[..., np.ndarray]) -> dict:
    pipe, columns = load_tryon(args.model), []
    pipe.set_progress_bar_config(disable=True)
    found: dict[str, list[float]] = {k: [] for k in ("top1", "ssim", "same", "given", "swapped", "seconds")}
    for at, case in enumerate(draw_cases(args.n)):
        sitting, garment, others = case
        before, truth = (render_sitting(sitting, worn_with(sitting, g)) for g in (others[0], garment))
        mask = agnostic_mask(before, garment.region, body=sitting.body, camera=sitting.camera)
        photo, swap = render_garment(garment, size=SIZE), render_garment(others[1], size=SIZE)
        start = time.process_time()
        result, swapped = dressed(pipe, case, before, [photo, swap], at, args)
        found["seconds"].append((time.process_time() - start) / 2)
        shelf = [truth.image] + [render_sitting(sitting, worn_with(sitting, o)).image for o in others]
        features = np.stack([region_features(s, mask) for s in shelf])[None]
        found["top1"].append(
            float(retrieval_ranks(region_features(result, mask)[None], features, np.array([0]))[0] == 1)
        )
        found["ssim"].append(
            float(ssim_in_box(_tensor(result), _tensor(truth.image), torch.from_numpy(mask)[None, None].float()))
        )
        found["same"].append(float(np.array_equal(result[~mask], before.image[~mask])))
        region = mask & (truth.labels == LABEL["outer" if garment.kind == "jacket" else garment.region])
        if garment.colour != others[1].colour:
            found["given"].append(float(takes_the_colours(result, region, photo, [swap])[0]))
            found["swapped"].append(float(takes_the_colours(swapped, region, swap, [photo])[0]))
        if at < 12:
            hole = np.where(mask[..., None], 128, before.image).astype(np.uint8)
            columns.append([before.image, hole, photo, result, truth.image, swap, swapped])
    _sheet(columns, args.sheets / f"tryon-{dressed.__name__.strip('_')}.png")
    return {"retrieval_top1_of_20": mean_of(found["top1"]), "ssim_in_mask_box": mean_of(found["ssim"]),
            "outside_unchanged": mean_of(found["same"]), "colours_nearer_to_given": mean_of(found["given"]),
            "swapped_colours_nearer_to_the_other": mean_of(found["swapped"]),
            "cpu_seconds_a_picture": round(float(np.median(found["seconds"])), 2)}  # fmt: skip


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
    _sheet(columns, args.sheets / "people.png")
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
        _sheet(columns[at : at + 8], args.sheets / f"street-{at // 8 + 1}.png")
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


def text2image(args: argparse.Namespace) -> dict:
    """Generate from held-out captions; a probe trained on renders reads the words back."""
    from probe import agreement, load, read

    pipe: Any = load_text2image(args.model)
    pipe.set_progress_bar_config(disable=True)
    sittings = [random_sitting(HELDOUT_SEED + 80_000 + i) for i in range(args.n)]
    captions, pictures, seconds = [person_caption(s.outfit, s.scene) for s in sittings], [], []
    for at in range(0, args.n, 8):
        part = captions[at : at + 8]
        noise, start = [torch.Generator().manual_seed(at + j) for j in range(len(part))], time.process_time()
        out = pipe(part, num_inference_steps=args.steps, guidance_scale=args.guidance, output_type="np", height=SIZE[0],
                   width=SIZE[1], generator=noise)  # fmt: skip
        seconds.append((time.process_time() - start) / len(part))
        pictures += list(_uint8(out.images))
    probe, truth = load(args.probe, SIZE), np.stack([render_sitting(s, s.outfit).image for s in sittings])
    score, ceiling = agreement(read(probe, np.stack(pictures)), captions), agreement(read(probe, truth), captions)
    shown = min(12, args.n // 2)
    _sheet(
        [[pictures[i], truth[i], pictures[i + shown], truth[i + shown]] for i in range(shown)],
        args.sheets / "text2image.png",
    )
    (args.sheets / "text2image.txt").write_text("\n".join(captions[: 2 * shown]))
    return {"probe_reads": score, "probe_reads_true_renders": ceiling, "n": args.n,
            "cpu_seconds_a_picture": round(float(np.median(seconds)), 2)}  # fmt: skip


def personalisation(args: argparse.Namespace) -> dict:
    """Looks of many shoppers, read by the probe, against every shopper's true taste: a permutation test.

    The agreement of a picture with a taste is the mean, over the words the probe reads off it, of the taste's weight
    of the word less its mean. Try-on looks are read for the garment put on, scenes for everything.
    """
    from probe import load, read

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


COMMANDS: dict[str, Callable[[argparse.Namespace], dict]] = {
    "tryon": tryon,
    "main-job": main_job,
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
