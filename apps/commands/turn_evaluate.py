"""`personagen tryon turn --evaluate`: figures of the atelier's people, whose every view is known."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch

from personagen.atelier.corpus import HELDOUT_SEED, random_sitting
from personagen.figure.build import build_figure
from personagen.figure.complete import Paints, complete
from personagen.figure.evaluate import VIEWS, dressed_of, measured, truth_of
from personagen.figure.mesh import Figure
from personagen.figure.pipeline import Figure3DOutput
from personagen.files import check_place, write_text
from personagen.person.parser import Parser, load_parser
from personagen.provenance import versions
from recsys.errors import ConfigError, DataError, check_range

from ..progress import bar
from ..signals import Patience
from .turn_config import TurnConfig

Finish = Callable[[Figure3DOutput], Figure3DOutput]
Row = dict[str, dict[str, float]]
"""Figures by what was measured, such as `iou 45`, of each system: `figure`, `completed` and `refined` where asked."""


def evaluate(settings: TurnConfig, paint: Paints | None, finish: Finish | None) -> int:
    """Make figures of held-out people of the atelier, compare them with the truth, and write the means. Returns 0.

    paint: completes what was not seen. finish: paints it by words. Without them nothing is painted.

    Raises:
        ConfigError, ResourceError: `out`, or another setting. DataError: not one figure could be made.
        ModelError: the parser.
    """
    people = settings.evaluate or 0
    check_range(evaluate=(people, 1, 100_000))
    place = check_place(Path(settings.out))
    if place.suffix.lower() != ".json":
        raise ConfigError(
            f"out is {place}; name a file that ends in .json, where the figures of --evaluate are written"
        )
    parser, rows, refused = load_parser(settings.parser, compute=settings.compute()), [], {}
    with Patience() as patience, bar(None, total=people, label="turn", unit="person") as progress:
        for seed in range(HELDOUT_SEED, HELDOUT_SEED + people):
            try:
                rows.append(_person(seed, parser, settings, paint, finish))
            except DataError as error:
                refused[seed] = str(error)
            progress.update(1)
            if patience.asked:
                break
    patience.end("nothing is written")
    if not rows:
        raise DataError(f"no figure could be made of {people} people; the first: {next(iter(refused.values()))}")
    means = _means(rows)
    report = {"people": len(rows), "first_seed": HELDOUT_SEED, "refused": refused, "figures": means}
    write_text(place, json.dumps(report | {"versions": versions()}, indent=2, ensure_ascii=False) + "\n")
    print(_table(means, len(rows)))
    for seed, why in refused.items():
        print(f"note: sitting {seed} is left out: {why}", file=sys.stderr)
    return 0


def _person(seed: int, parser: Parser, settings: TurnConfig, paint: Paints | None, finish: Finish | None) -> Row:
    truth = truth_of(random_sitting(seed))
    dressed, shape = dressed_of(truth, parser)
    figure = build_figure(dressed, shape=replace(shape, build=settings.build, weight=settings.weight))
    made: dict[str, Figure] = {"figure": figure}
    if paint is not None:
        made["completed"] = figure = complete(figure, paint, generator=torch.Generator().manual_seed(seed))[0]
    if finish is not None:
        made["refined"] = finish(Figure3DOutput(figure, dressed.picture)).figure
    return {name: measured(one, truth) for name, one in made.items()}


def _means(rows: Sequence[Row]) -> Row:
    """Mean of each figure over the people of whom it could be measured."""
    found: Row = {}
    for system in rows[0]:
        names = dict.fromkeys(name for row in rows for name in row[system])
        found[system] = {
            name: round(fmean(row[system][name] for row in rows if name in row[system]), 4) for name in names
        }
    return found


def _table(means: Row, people: int) -> str:
    """The figures as a user reads them."""
    lines = [f"{'people of the atelier: ' + str(people):<47}" + "".join(f"{view:>6}°" for view in VIEWS)]
    for system, found in means.items():
        for name, words in (("iou", "silhouette, IoU"), ("lab", "garment's colour, dE"), ("psnr", "person, dB")):
            values = [found.get(f"{name} {view}") for view in VIEWS]
            shown = "".join("      –" if value is None else f"{value:7.3g}" for value in values)
            lines.append(f"{system:<10}{words:<37}" + shown)
        lines.append(f"{system:<10}the right garment of 20, from behind: {found['of 20']:.3g}")
    return "\n".join(lines)
