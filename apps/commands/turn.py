"""`personagen tryon turn`: a person, dressed, as a figure that can be turned."""

import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from personagen.devices import Compute
from personagen.figure.build import Shape
from personagen.figure.completer import Completer, load_completer
from personagen.figure.distil import Distilling, distil
from personagen.figure.distil_normals import distil_shape
from personagen.figure.mesh import Figure
from personagen.figure.normals import reshape
from personagen.figure.pipeline import Figure3DOutput, Figure3DPipeline
from personagen.figure.poses import pose_named
from personagen.figure.refine import Refining, refine
from personagen.figure.turntable import check_move
from personagen.figure.words import Staging, read_prompt, scene_named
from personagen.figure.writing import Asked, write_figure
from personagen.files import check_place
from personagen.images import PALEST, load_image
from personagen.models import load_controlnet, open_tryon
from personagen.person.parser import load_parser
from personagen.person.reading import box_of
from personagen.provenance import versions
from personagen.subject.loaded import base_of, load_subjects
from personagen.tryon.dress import Piece, in_order
from personagen.warping.cutout import check_shows_something
from recsys.errors import SEEDS, ConfigError, check_range

from .judging import judge_of
from .turn_config import RefineConfig, TurnConfig
from .turn_evaluate import evaluate
from .wear import check_kinds, named_pieces
from .weights import note_sampler, own_weights


def run(settings: TurnConfig) -> int:
    """Write the figure, its sheet, and what else is asked for. Returns 0.

    Raises:
        ConfigError, DataError: pictures, words, and photos that no figure can be made of.
        ModelError, ResourceError: what the message names.
    """
    check_range(
        steps=(settings.steps, 1, 1000), guidance=(settings.guidance, 1, 30), seed=(settings.seed, *SEEDS),
        height=(settings.height, 1.0, 2.3), build=(settings.build, 0, 1), weight=(settings.weight, -1, 1),
    )  # fmt: skip
    note_sampler(settings.scheduler, settings.steps)
    person = _person_or_atelier(settings)
    finish = None if settings.refine is None else _finish(settings.refine, settings.compute(), settings.seed)
    if settings.evaluate is not None:
        return evaluate(settings, completer_of(settings), finish)
    out, staging, files, compute = _glb_path(settings.out), _staging(settings), _garments(settings), settings.compute()
    if settings.turntable is not None:
        check_place(check_move(Path(settings.turntable)))
    if staging.note:
        print(f"note: {staging.note}", file=sys.stderr)
    photo = load_image(person)
    back = None if settings.person_back is None else load_image(settings.person_back)
    pieces = _pieces(files)
    parser = load_parser(settings.parser, compute=compute)
    pieces, files = named_pieces(pieces, files, parser)
    started = time.process_time()
    pipeline = Figure3DPipeline(
        open_tryon(settings.model, base=settings.base, scheduler=settings.scheduler, compute=compute),
        parser,
        completer_of(settings),
    )
    made = pipeline(
        photo, pieces, back=back, box=box_of(settings.box), fine=settings.fine,
        shape=Shape(settings.height, settings.build, settings.weight), num_inference_steps=settings.steps,
        guidance_scale=settings.guidance, judge=judge_of(person, files, force=settings.force),
        generator=torch.Generator().manual_seed(settings.seed),
        callback=_say,
    )  # fmt: skip
    if finish is not None:
        made = finish(made)
    for note in made.notes:
        print(f"note: {note}", file=sys.stderr)
    _write(settings, made, staging, out, [Path(file).name for file in files.values()])
    _tell(made.figure, out, time.process_time() - started)
    return 0


def completer_of(settings: TurnConfig) -> Completer | None:
    """Load what paints the sides that no photo shows; None where nothing does. ConfigError, ModelError."""
    if not settings.complete or settings.person_back is not None:
        return None
    if settings.view is None:
        return load_completer(settings.completer, compute=settings.compute())
    return Completer(open_tryon(base=settings.view, compute=settings.compute()))


def _person_or_atelier(settings: TurnConfig) -> str:
    """Return the photo's name, empty with --evaluate. ConfigError on both or none."""
    if (settings.person is None) == (settings.evaluate is None):
        both = "person is left out" if settings.person is None else f"person is {settings.person} with --evaluate"
        raise ConfigError(f"{both}; give --person, a photo, or --evaluate, a number of people of the atelier")
    return settings.person or ""


def _say(stage: str) -> None:
    print(f"{stage} ...", file=sys.stderr)


def _finish(asked: RefineConfig, compute: Compute, seed: int) -> Callable[[Figure3DOutput], Figure3DOutput]:
    """Check what is asked of a painter, load it, and return what paints a figure with it.

    Raises:
        ConfigError, ModelError: as `load_subjects` does; a setting is out of range, or the model knows no normal maps.
    """
    if asked.geometry and base_of(asked.subjects, asked.base) == "embedded":
        raise ConfigError(
            "refine.geometry is true, but the embedded model has seen photos alone, no normal maps; name a Stable "
            "Diffusion with --refine.base, or leave it out"
        )
    painting = Refining(**{one.name: getattr(asked, one.name) for one in fields(Refining)})
    distilling = Distilling(asked.prompt, steps=asked.distil, guidance=asked.guidance) if asked.distil else None
    own = own_weights(asked, asked.steps)
    painter = load_subjects(asked.subjects, weights=asked.weights, base=asked.base, own=own, compute=compute)
    shape = None if asked.controlnet is None else load_controlnet(asked.controlnet, compute=compute)

    def paint(made: Figure3DOutput) -> Figure3DOutput:
        generator = torch.Generator().manual_seed(seed)
        figure, notes = made.figure, list[str | None](made.notes)
        told: dict[str, Any] = {"generator": generator, "tell": _say}
        if asked.geometry and distilling is not None:
            figure, note = distil_shape(figure, painter, distilling, **told)
            notes.append(note)
        elif asked.geometry:
            figure, note = reshape(figure, painter, painting, controlnet=shape, **told)
            notes.append(note)
        if distilling is not None:
            figure = distil(figure, painter, distilling, **told)
        else:
            figure, note = refine(figure, painter, painting, controlnet=shape, **told)
            notes.append(note)
        return replace(made, figure=figure, notes=tuple(note for note in notes if note))

    return paint


def _staging(settings: TurnConfig) -> Staging:
    """Read the prompt; --pose and --scene count before it. ConfigError, DataError: a pose or scene there is not."""
    found = read_prompt(settings.prompt)
    if settings.pose is not None:
        pose_named(settings.pose)
        found = replace(found, pose=settings.pose)
    return found if settings.scene is None else replace(found, scene=scene_named(settings.scene))


def _glb_path(name: str) -> Path:
    """Check where the figure is to be written. ConfigError, ResourceError."""
    out = check_place(Path(name))
    if out.suffix.lower() != ".glb" or out.is_dir():
        raise ConfigError(f"out is {out}; name a file that ends in .glb")
    return out


def _garments(settings: TurnConfig) -> dict[str, str]:
    """Kind -> photo: none, one or several. ConfigError on both ways of naming them, or an unknown kind."""
    if settings.garment is not None and settings.outfit:
        raise ConfigError("give --garment, or --outfit for several, not both")
    files = dict(settings.outfit) if settings.garment is None else {settings.kind: settings.garment}
    check_kinds(settings.kind if settings.garment else None, settings.outfit)
    return files


def _pieces(files: dict[str, str]) -> list[Piece]:
    """Read the garments' pictures, by their kinds, in the order in which they are put on. ConfigError, DataError."""
    pieces = [Piece(load_image(file, palest=PALEST), kind) for kind, file in files.items()]
    pieces = in_order(pieces) if pieces else []
    for piece in pieces:
        check_shows_something(piece.image)
    return pieces


def _write(settings: TurnConfig, made: Figure3DOutput, staging: Staging, out: Path, garments: list[str]) -> None:
    """Write every file that is asked for."""
    record: dict[str, Any] = {"kind": "figure", "garments": garments, "prompt": settings.prompt, "seed": settings.seed,
              "steps": settings.steps, "model": Path(settings.model).name,
              "completed": "completed" in made.figure.report, "versions": versions()}  # fmt: skip
    if (asked := settings.refine) is not None:
        named = {
            "base": Path(asked.base or "").name,
            "controlnet": Path(asked.controlnet or "").name,
            "subjects": [Path(one).name for one in asked.subjects],
        }
        same = ("weights", "geometry", "distil", *(one.name for one in fields(Refining)))
        record["refine"] = named | {name: getattr(asked, name) for name in same}
    turntable = Path(settings.turntable) if settings.turntable else None
    wanted = Asked(True, turntable, settings.obj, settings.maps, settings.unlit, settings.seed)
    write_figure(made.figure, out, staging, wanted, record=record)


def _tell(figure: Figure, out: Path, seconds: float) -> None:
    layers = ", ".join(f"{layer.name} {len(layer.faces):,}" for layer in figure.layers)
    report = figure.report
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB) and {out.with_suffix('.png').name}")
    print(f"layers and faces: {layers}")
    print(
        f"front as the picture: IoU {report['front iou']:.3f}, {report['inner psnr']:.1f} dB; "
        f"open edges {report['open edges']:.0f}; {seconds:.0f} CPU-seconds"
    )
