"""What the jobs do: looks, a try-on, the training of a subject."""

import base64
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from personagen.images import PALEST, load_image
from personagen.person.parts import region_of
from personagen.person.reading import read_person
from personagen.provenance import Parameters, sampling_settings, versions, write_png
from personagen.schedulers import sampler_of
from personagen.styling.looks import MANIFEST, SHEET, describe
from personagen.styling.studio import Halted, Order, Watched
from personagen.subject import SubjectConfig, train_subject
from personagen.tryon.dress import Piece, cut_from_photos, dress
from personagen.tryon.trust import Trust
from personagen.warping.cutout import check_shows_something
from recsys.errors import ConfigError, DataError

from .jobs import Bench, Maker
from .shop import Shop

RECORD = "run.json"


def makers(shop: Shop) -> dict[str, Maker]:
    """Return what does each kind of job."""
    return {"looks": partial(make_looks, shop), "tryon": partial(make_tryon, shop), "subject": partial(teach, shop)}


def make_looks(shop: Shop, bench: Bench) -> None:
    """Make looks; each can be fetched as soon as it is painted.

    Raises:
        ConfigError, DataError, ModelError: what the message names.
    """
    studio, order = shop.pictures(), bench.order
    history, _ = shop.history(order["user"], order["history"])
    user = ",".join(map(str, history)) if order["user"] is None else str(order["user"])
    wanted = Order(history, user, order["looks"], order["scenes"], order["seed"], shop.style)
    if order["subject"]:
        from personagen.styling.subjects import read_subject

        wanted = replace(wanted, subject=read_subject(subject_folder(shop, order["subject"])))
    if order["photo"]:
        photo = bench.folder / "photo.png"
        load_image(base64.b64decode(order["photo"])).save(photo)
        wanted = replace(wanted, photo=photo)
    out = bench.folder / "looks"
    for one in studio.make(wanted, out, stop=bench.stop):
        bench.tell({"file": bench.ready(one.path), **describe(one.look, studio.source.catalog)})
    for name in (MANIFEST, SHEET):
        bench.ready(out / name)
    shutil.rmtree(out)  # its files are linked


def make_tryon(shop: Shop, bench: Bench) -> None:
    """Put a garment on a person.

    Raises:
        ConfigError, DataError: the pictures.
        Halted: the client wants it no more.
    """
    studio, order = shop.pictures(), bench.order
    region_of(order["kind"])
    person = load_image(base64.b64decode(order["person"]))
    garment = load_image(base64.b64decode(order["garment"]), palest=PALEST)
    check_shows_something(garment)
    reading = read_person(person, studio.parser, name="the person's photo")
    reading.body.mask(order["kind"])
    pipeline = studio.tryon
    pieces, _ = cut_from_photos([Piece(garment, order["kind"])], pipeline, parser=studio.parser)
    image = dress(
        Watched(pipeline, bench.stop), person, reading.body, pieces, num_inference_steps=order["steps"],
        guidance_scale=order["guidance"], judge=None if order["force"] else refuse_unbelievable,
        generator=torch.Generator().manual_seed(order["seed"]),
    )  # fmt: skip
    sampled = sampling_settings(
        steps=order["steps"], sampler=sampler_of(pipeline), guidance=order["guidance"], seed=order["seed"],
        size=(image.height, image.width), model=studio.models["tryon"],
    )  # fmt: skip
    out = bench.folder / "worn.png"
    record = {"kind": "tryon", "seed": order["seed"], "versions": versions()}
    write_png(image, out, parameters=Parameters("a person wearing a garment", settings=sampled), record=record)
    bench.tell({"file": bench.ready(out), "kind": "tryon", "seed": order["seed"], "note": reading.note})


def refuse_unbelievable(trust: Trust) -> None:
    """Refuse a try-on below the threshold of trust.

    Raises:
        DataError: which photo is the trouble, and what would help.
    """
    if trust.low:
        raise DataError(f"this try-on would not be believed; {trust.because()}; force: true makes it all "
                        "the same")  # fmt: skip


def teach(shop: Shop, bench: Bench) -> None:
    """Train a subject and put it among those that looks can show; a job that was stopped goes on from its checkpoint.

    Raises:
        ConfigError, DataError, ModelError, ResourceError: what the message names.
        Halted: it is to stop.
    """
    studio, order = shop.pictures(), bench.order
    target = shop.subjects / order["label"]
    if target.exists():
        raise ConfigError(f"there is a subject {order['label']} already; remove it first, or choose another label")
    pictures, work = bench.folder / "pictures", bench.folder / "result"
    pictures.mkdir(exist_ok=True)
    for number, photo in enumerate(order["photos"]):
        load_image(base64.b64decode(photo)).save(pictures / f"{number:02d}.png")
    config = SubjectConfig(
        str(pictures), " ".join(order["name"].split()), preset=order["preset"], output_dir=str(work),
        pretrained_model_name_or_path=studio.models["text2image"], consent=order["consent"], seed=order["seed"],
        device=studio.compute.device, max_train_steps=order["steps"],
        resume_from_checkpoint="latest" if (work / "checkpoints").is_dir() else None, **asdict(studio.own),
    )  # fmt: skip
    _train(config, bench)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.replace(work, target)
    shutil.rmtree(pictures)
    bench.tell({"subject": order["label"]})


def _train(config: SubjectConfig, bench: Bench) -> None:
    steps = train_subject(config)
    for step in steps:
        if bench.stop():
            steps.close()  # type: ignore[attr-defined]
            raise Halted
        if step.metrics and step.step:
            bench.tell({"step": step.step, **step.metrics})


def subject_folder(shop: Shop, label: str) -> Path:
    """Return the folder of a subject that was learnt.

    Raises:
        DataError: there is none.
    """
    folder = shop.subjects / label
    if not (folder / RECORD).is_file():
        raise DataError(f"there is no subject {label!r}; ask for the list")
    return folder


def learnt(shop: Shop) -> list[Mapping[str, Any]]:
    """List the subjects with the words that call them."""
    from personagen.subject.record import phrase

    if not shop.subjects.is_dir():
        return []
    return [{"label": folder.name, "phrase": phrase(folder)} for folder in sorted(shop.subjects.iterdir())
            if (folder / RECORD).is_file()]  # fmt: skip
