"""`personagen tryon wear`: a garment, or an outfit, on one person."""

import sys
from pathlib import Path

import torch
from PIL import Image

from personagen.images import PALEST, load_image
from personagen.models import open_tryon
from personagen.person.masks import mask_from_file
from personagen.person.own_mask import doubt_about
from personagen.person.parser import Parser, load_parser
from personagen.person.parts import region_of
from personagen.person.reading import box_of, read_person
from personagen.provenance import Parameters, sampling_settings, versions, write_png
from personagen.schedulers import sampler_of
from personagen.tryon.dress import Piece, cut_from_photos, dress, in_order, with_kinds
from personagen.tryon.fast import FastMode
from personagen.warping.cutout import check_shows_something
from personagen.warping.garment_kind import AUTO
from recsys.errors import SEEDS, ConfigError, DataError, check_range

from .config import WearConfig
from .judging import judge_of
from .mask import png_path
from .weights import note_sampler

UNCUT = "cannot be told from its background; give a photo of the garment on one plain colour, best white"
"""Of a garment's photo in which it is not found."""


def run(settings: WearConfig) -> int:
    """Write the person's photo with the garments on to `settings.out`, with its settings in the PNG. Returns 0.

    Raises:
        ConfigError, DataError: pictures and masks.
        ModelError, ResourceError: what the message names.
    """
    check_range(
        steps=(settings.steps, 1, 1000), guidance=(settings.guidance, 1, 30), seed=(settings.seed, *SEEDS),
        mask_expand=(settings.mask_expand, 0, 4),
    )  # fmt: skip
    note_sampler(settings.scheduler, settings.steps)
    out, files, compute = png_path(settings.out), _garments(settings), settings.compute()
    person = load_image(settings.person)
    pieces = in_order([Piece(load_image(file, palest=PALEST), kind) for kind, file in files.items()])
    for piece in pieces:
        check_shows_something(piece.image)
    size = (person.height, person.width)
    drawn = {kind: (file, mask_from_file(file, size=size)) for kind, file in _masks(settings, pieces).items()}
    parser = load_parser(settings.parser, compute=compute)
    pieces, files = named_pieces(pieces, files, parser)
    drawn = {pieces[0].kind if kind == AUTO else kind: one for kind, one in drawn.items()}
    masked = len(drawn) == len(pieces)
    reading = read_person(person, parser, box=box_of(settings.box), masked=masked, name=settings.person)
    body = reading.body
    if reading.note:
        print(f"note: {settings.person}: {reading.note}", file=sys.stderr)
    for kind, (file, mask) in drawn.items():
        if doubt := doubt_about(mask, body, kind):
            print(f"warning: {file}: {doubt}", file=sys.stderr)
        body = body.with_mask(kind, mask)
    for piece in pieces:
        body.mask(piece.kind, expand=settings.mask_expand)  # refuse bad photos before the model is loaded
    pipeline = open_tryon(settings.model, base=settings.base, scheduler=settings.scheduler, compute=compute)
    if settings.cut_out:
        pieces, whole = cut_from_photos(pieces, pipeline, parser=parser)
        for kind in whole:
            if kind not in drawn and body.lays(kind) and not settings.force:
                raise DataError(f"{files[kind]} {UNCUT}; --force true takes it whole")
            print(left_whole(files[kind]), file=sys.stderr)
    image = dress(
        pipeline,
        person,
        body,
        pieces,
        mask_expand=settings.mask_expand,
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance,
        fast=FastMode() if settings.fast else None,
        zoom=settings.zoom,
        composed=settings.composed,
        judge=judge_of(settings.person, files, force=settings.force),
        generator=torch.Generator().manual_seed(settings.seed),
    )
    _write(settings, image, out, [Path(file).name for file in files.values()], sampler=sampler_of(pipeline))
    print(f"wrote {out}")
    return 0


def named_pieces(pieces: list[Piece], files: dict[str, str], parser: Parser) -> tuple[list[Piece], dict[str, str]]:
    """Find the kind of one garment where it is `auto`, and say it; return the piece, and its file by its kind.

    Raises:
        DataError: somebody is seen in the photo who wears nothing that can be put on others.
    """
    if AUTO not in files:
        return pieces, files
    named, found = with_kinds(pieces, parser=parser)
    for one in found:
        if one:
            print(f"note: {files[AUTO]}: {one.said()}; --kind says otherwise", file=sys.stderr)
    return named, {named[0].kind: files[AUTO]}


def left_whole(garment: str) -> str:
    """Say that a garment's photo is taken as it is."""
    return f"note: {garment} {UNCUT}; it is taken whole"


def _garments(settings: WearConfig) -> dict[str, str]:
    """Kind -> photo, one or several.

    Raises:
        ConfigError: what the message names.
    """
    if (settings.garment is None) == (not settings.outfit):
        raise ConfigError("give --garment, or --outfit for several, not both")
    if settings.outfit and settings.mask and len(settings.outfit) > 1:
        raise ConfigError("mask belongs to one garment; for an outfit give --masks, kind to picture")
    if strange := [kind for kind in settings.masks if kind not in settings.outfit]:
        raise ConfigError(f"masks are given for {', '.join(strange)}, which --outfit does not name; "
                          f"it names {', '.join(settings.outfit) or 'nothing'}")  # fmt: skip
    files = settings.outfit or {settings.kind: str(settings.garment)}
    check_kinds(settings.kind if settings.garment else None, settings.outfit)
    return files


def _masks(settings: WearConfig, pieces: list[Piece]) -> dict[str, str]:
    """Kind -> mask of one's own, for those pieces that have one."""
    return settings.masks or ({pieces[0].kind: settings.mask} if settings.mask else {})


def check_kinds(kind: str | None, outfit: dict[str, str]) -> None:
    """Refuse kinds that there are not, and `auto` in an outfit, whose garments are told apart by their kinds.

    Raises:
        ConfigError: what the message names.
    """
    for name in outfit:
        if name == AUTO:
            raise ConfigError("auto is for one garment, as --garment FILE --kind auto; name the kinds of an outfit")
        region_of(name)
    if kind is not None and kind != AUTO:
        region_of(kind)


def _write(settings: WearConfig, image: Image.Image, out: Path, garments: list[str], *, sampler: str) -> None:
    model = settings.model if settings.base is None else settings.base.base
    sampled = sampling_settings(
        steps=settings.steps,
        sampler=sampler,
        guidance=settings.guidance,
        seed=settings.seed,
        size=(image.height, image.width),
        model=model,
    )
    worn = {"garment": garments[0]} if len(garments) == 1 else {"outfit": garments}
    record = {"kind": "tryon", **worn, "seed": settings.seed, "versions": versions()}
    write_png(image, out, parameters=Parameters("a person wearing a garment", settings=sampled), record=record)
