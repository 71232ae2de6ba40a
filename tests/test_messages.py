"""What a message tells one to do can be done: its options, commands, files and settings are there, and help."""

import argparse
import dataclasses
import re
import tomllib
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from apps import cli
from apps.extras import EXTRAS
from personagen.corpora.pairs import read_pairs
from personagen.images import blur, load_image, place, to_tensor
from personagen.person.masks import agnostic_mask, layers_from_parts, mask_from_file
from personagen.person.parts import Part
from personagen.styling.catalog import FolderCatalog
from personagen.styling.config import StyleConfig
from personagen.styling.studio import Order
from personagen.styling.subjects import read_mapping
from personagen.subject import SubjectConfig, resolve
from personagen.subject.data import usable
from personagen.subject.loaded import fill_weights
from recsys import pretrained
from recsys.checkpoint import load_latest, save_checkpoint
from recsys.data.columns import Columns
from recsys.data.interactions import read_interactions
from recsys.data.vocabulary import Vocabulary
from recsys.errors import ConfigError, DataError, ModelError, ResourceError
from recsys.models import MODELS
from recsys.ranking import check_k
from recsys.text import read_names, read_text
from tests.messages import messages, parameters
from tests.place import ROOT

ALL = messages()
OURS = (ConfigError, DataError, ModelError, ResourceError)
OTHERS = {"--", "--no-deps", "--help"}


def options(config: Any, prefix: str = "--") -> set[str]:
    """List the flags of a dataclass of settings, those of inner ones with dots."""
    found = set()
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        found.add(prefix + field.name)
        for kind in (hints[field.name], *typing.get_args(hints[field.name])):
            if dataclasses.is_dataclass(kind):
                found |= options(kind, f"{prefix}{field.name}.")
    return found


OPTIONS = set().union(*(options(cli._load(config)) for _, config, _ in cli.COMMANDS.values()), {"--config"}, OTHERS)
NAMES = parameters() | {"consent", "open"}


def test_there_are_messages_to_look_at():
    assert len(ALL) > 400 and sum("--" in one.text for one in ALL) > 30


def test_options_that_messages_name_are_there():
    for one in ALL:
        for option in re.findall(r"(?<![\w-])--[a-z][\w.-]*", one.text):
            known = option.rstrip(".") in OPTIONS or option.endswith(".")  # the rest is filled in
            assert known, f"{one.place}: no command has {option}: {one.text}"


def test_commands_that_messages_name_are_there():
    for one in ALL:
        for first, second in re.findall(r"(?:run:? |`|\()personagen ([a-z]+)(?: ([a-z]+))?", one.text):
            known = (first,) in cli.COMMANDS or (first, second) in cli.COMMANDS
            assert known, f"{one.place}: no such command: {one.text}"


def test_packages_and_extras_that_messages_name_are_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert set(EXTRAS.values()) <= set(extras)
    for one in ALL:
        for extra in re.findall(r"personagen\[([a-z]+)\]", one.text):
            assert extra in extras, f"{one.place}: no extra {extra}"


def test_files_and_guides_that_messages_name_are_there():
    for one in ALL:
        for file in re.findall(r"(?:docs|configs)/[\w/.-]+\.\w+", one.text):
            assert (ROOT / file).is_file(), f"{one.place}: there is no {file}"


def test_settings_that_messages_name_are_there():
    """After set, lower, raise, add or correct, and before an equals sign, a name of ours follows."""
    told = re.compile(r"\b(?:set|lower|raise|add|correct|leave) ([a-z]+_[a-z_]+)\b|\b([a-z_]+)=(?!=)")
    for one in ALL:
        for names in told.findall(one.text):
            name = names[0] or names[1]
            assert name in NAMES, f"{one.place}: nothing is called {name}: {one.text}"


def test_messages_are_of_one_style():
    for one in ALL:
        assert not one.text.endswith("."), f"{one.place}: {one.text}"


# -- remedies that are followed ----------------------------------------------------------------------------------------


def table(folder: Path, text: str, name: str = "a.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def picture(file: Path, size: tuple[int, int] = (48, 64), mode: str = "RGB") -> Path:
    Image.linear_gradient("L").resize(size).convert(mode).save(file)
    return file


def shop(folder: Path, table: str) -> Path:
    (folder / "shop").mkdir(exist_ok=True)
    picture(folder / "shop" / "a.png")
    (folder / "shop" / "table.csv").write_text(table, encoding="utf-8")
    return folder / "shop"


def subject(**settings: Any) -> Any:
    return resolve(SubjectConfig("pictures", settings.pop("name", "dog"), **settings))


def popularity(n_items: int = 3) -> Any:
    cls, config = MODELS["popularity"]
    return cls(config(n_items)).fit([np.array([1, 2, 3])])


def viton(folder: Path, line: str) -> Path:
    for name in ("image", "cloth", "image-parse-v3"):
        (folder / "test" / name).mkdir(parents=True, exist_ok=True)
    for name in ("a b.jpg", "a.jpg"):
        picture(folder / "test" / "image" / name)
        picture(folder / "test" / "cloth" / name)
        picture(folder / "test" / "image-parse-v3" / f"{Path(name).stem}.png", mode="L")
    return table(folder, line, "test_pairs.txt").parent


def marked(folder: Path, share: float) -> Path:
    mask = Image.new("L", (48, 64))
    mask.paste(255, (0, 0, 48, int(64 * share)))
    mask.save(folder / "mask.png")
    return folder / "mask.png"


def emptied(folder: Path) -> Any:
    """Remove the folder, as the message says, and begin again."""
    import shutil

    shutil.rmtree(folder / "steps")
    return load_latest(folder / "steps")


def damaged_steps(folder: Path) -> Any:
    path = save_checkpoint(folder / "steps", 1, {"model": {"w": torch.zeros(2)}}, {})
    (path / "state.json").write_text("{")
    return load_latest(folder / "steps")


def parsed(*words: str) -> Any:
    return cli.parse(words)[1]


HEAD, ROW = "user,item,timestamp\n", "u1,i1,1700000000\n"
LAYERS = layers_from_parts(np.full((8, 8), int(Part.UPPER), np.uint8), kind="t-shirt")
Call = Callable[[Path], object]
REMEDIES: dict[str, tuple[str, Call, Call]] = {
    "columns by name": ("Name it with --columns.user",
        lambda at: read_interactions(table(at, "who,item,timestamp\nu1,i1,1\n")),
        lambda at: read_interactions(at / "a.csv", Columns(user="who"))),
    "columns by number": ("by its number, --columns.user 1",
        lambda at: read_interactions(table(at, "user,item,timestamp,user\nu1,i1,1700000000,x\n"), Columns(user="user")),
        lambda at: read_interactions(at / "a.csv", Columns(user="1"))),
    "another column": ("Name one of them with --columns.user or --columns.item",
        lambda at: read_interactions(table(at, HEAD + ROW), Columns(user="item")),
        lambda at: read_interactions(at / "a.csv", Columns(user="user", item="item"))),
    "time by name": ("Give --columns.time 'when'",
        lambda at: read_interactions(table(at, "user,item,when\nu1,i1,1700000000\nu1,i2,1700000009\n")),
        lambda at: read_interactions(at / "a.csv", Columns(time="when"))),
    "no time": ("or --columns.time '' if rows are in time order",
        lambda at: read_interactions(table(at, "user,item,when\nu1,i1,1700000000\nu1,i2,1700000009\n")),
        lambda at: read_interactions(at / "a.csv", Columns(time=""))),
    "text dates": ("dates such as 2026-01-31",
        lambda at: read_interactions(table(at, HEAD + "u1,i1,yesterday\n")),
        lambda at: read_interactions(table(at, HEAD + "u1,i1,2026-01-31\n"))),
    "one object a line": ("write one object a line",
        lambda at: read_interactions(table(at, '[{"user": "a", "item": "b", "timestamp": 1700000000}]', "a.json")),
        lambda at: read_interactions(table(at, '{"user": "a", "item": "b", "timestamp": 1700000000}\n', "a.json"))),
    "one interaction a row": ("give at least one interaction a row",
        lambda at: read_interactions(table(at, "")), lambda at: read_interactions(table(at, HEAD + ROW))),
    "check the path": ("check the path",
        lambda at: read_interactions(at / "none.csv"), lambda at: read_interactions(table(at, HEAD + ROW))),
    "save it as UTF-8": ("save it as UTF-8",
        lambda at: (at / "a.txt").write_bytes(b"\xfc") and read_text(at / "a.txt"),
        lambda at: (at / "a.txt").write_text("ü", encoding="utf-8") and read_text(at / "a.txt")),
    "one name a line": ("give a text file with one name a line",
        lambda at: read_names(table(at, "\n", "a.txt")), lambda at: read_names(table(at, "u1\n", "a.txt"))),
    "a whole row": ("give at least one row with user, item and time",
        lambda at: read_interactions(table(at, HEAD + "u1,,1\n")),
        lambda at: read_interactions(table(at, HEAD + ROW))),
    "catalogue: one table": ("name the one that is meant",
        lambda at: FolderCatalog(shop(at, "file,kind\na.png,dress\n") if table(shop(at, "x"), "x", "b.csv") else at),
        lambda at: FolderCatalog(at / "shop", "table.csv")),
    "catalogue: columns": ("it needs file, and kind or label",
        lambda at: FolderCatalog(shop(at, "file,sort\na.png,dress\n")),
        lambda at: FolderCatalog(shop(at, "file,label\na.png,dress\n"))),
    "catalogue: a line": ("add one line for each picture",
        lambda at: FolderCatalog(shop(at, "file,kind\n")),
        lambda at: FolderCatalog(shop(at, "file,kind\na.png,top\n"))),
    "catalogue: fill in": ("fill it in or delete the line",
        lambda at: FolderCatalog(shop(at, "file,kind\na.png,\n")),
        lambda at: FolderCatalog(shop(at, "file,kind\na.png,dress\n"))),
    "catalogue: copy": ("copy them there or delete their lines",
        lambda at: FolderCatalog(shop(at, "file,kind\nb.png,dress\n")),
        lambda at: picture(at / "shop" / "b.png") and FolderCatalog(at / "shop")),
    "catalogue: inside": ("give a path inside the catalogue's folder",
        lambda at: picture(at / "x.png") and FolderCatalog(shop(at, "file,kind\n../x.png,dress\n")),
        lambda at: FolderCatalog(shop(at, "file,kind\na.png,dress\n"))),
    "catalogue: own ids": ("give every line its own id",
        lambda at: FolderCatalog(shop(at, "file,kind\na.png,dress\na.png,top\n")),
        lambda at: FolderCatalog(shop(at, "id,file,kind\n1,a.png,dress\n2,a.png,top\n"))),
    "catalogue: one column": ("keep one of them",
        lambda at: FolderCatalog(shop(at, "file,kind,kind\na.png,dress,x\n")),
        lambda at: FolderCatalog(shop(at, "file,kind\na.png,dress\n"))),
    "catalogue: quotes": ("put a text with a separator in it into quotes",
        lambda at: FolderCatalog(shop(at, "file,kind,title\na.png,dress,red, long\n")),
        lambda at: FolderCatalog(shop(at, 'file,kind,title\na.png,dress,"red, long"\n'))),
    "mapping: a line": ("add one line for each user",
        lambda at: read_mapping(table(at, "user,subject\n")),
        lambda at: read_mapping(table(at, "user,subject\nu,.\n"))),
    "mapping: once": ("give each user one line",
        lambda at: read_mapping(table(at, "user,subject\nu,.\nu,.\n")),
        lambda at: read_mapping(table(at, "user,subject\nu,.\n"))),
    "mapping: columns": ("allowed are user, subject and person",
        lambda at: read_mapping(table(at, "user,model\nu,.\n")),
        lambda at: read_mapping(table(at, "user,subject,person\nu,.,\n"))),
    "pairs: a tab": ("a tab between names with spaces",
        lambda at: read_pairs(viton(at, "a\n"), "viton-hd", split="test", paired=False),
        lambda at: read_pairs(viton(at, "a b.jpg\ta.jpg\n"), "viton-hd", split="test", paired=False)),
    "pairs: other layout": ("must be one of",
        lambda at: read_pairs(viton(at, "a.jpg a.jpg\n"), "hd", split="test"),
        lambda at: read_pairs(at, "viton-hd", split="test")),
    "picture: convert it": ("convert it to one of these",
        lambda at: Image.new("RGB", (8, 8)).save(at / "a.bmp") or load_image(at / "a.bmp"),
        lambda at: Image.open(at / "a.bmp").save(at / "a.png") or load_image(at / "a.png")),
    "picture: one frame": ("save the one you want as a picture",
        lambda at: Image.new("RGB", (8, 8)).save(at / "a.png", save_all=True,
                                                 append_images=[Image.new("RGB", (8, 8), "red")])
        or load_image(at / "a.png"),
        lambda at: Image.open(at / "a.png").convert("RGB").save(at / "b.png") or load_image(at / "b.png")),
    "picture: smaller": ("scale it down",
        lambda at: load_image(picture(at / "a.png"), max_pixels=100),
        lambda at: load_image(picture(at / "a.png", (10, 10)), max_pixels=100)),
    "picture: sides": ("every side must be at least 1",
        lambda at: place((0, 5), (8, 8)), lambda at: place((1, 5), (8, 8))),
    "picture: scale": ("scale them to [0, 1]".replace("[", r"\["),
        lambda at: to_tensor(torch.full((3, 4, 4), 255.0)), lambda at: to_tensor(torch.full((3, 4, 4), 1.0))),
    "picture: an odd width": ("use an odd number",
        lambda at: blur(torch.zeros(1, 1, 8, 8), kernel=4), lambda at: blur(torch.zeros(1, 1, 8, 8), kernel=5)),
    "mask: paint": ("paint the old garment",
        lambda at: mask_from_file(marked(at, 0)), lambda at: mask_from_file(marked(at, 0.5))),
    "mask: leave": ("leave face, hands and surroundings black",
        lambda at: mask_from_file(marked(at, 1)), lambda at: mask_from_file(marked(at, 0.5))),
    "mask: draw it on it": ("draw it on it",
        lambda at: mask_from_file(marked(at, 0.5), size=(48, 64)),
        lambda at: mask_from_file(marked(at, 0.5), size=(64, 48))),
    "mask: expand": ("must lie in 0..4",
        lambda at: agnostic_mask(LAYERS, mask_expand=5), lambda at: agnostic_mask(LAYERS, mask_expand=4)),
    "subject: a name": ("say what the subject is", lambda at: subject(name=" "), lambda at: subject(name="dog")),
    "subject: consent": ("needs consent: true",
        lambda at: subject(name="person", preset="person"),
        lambda at: subject(name="person", preset="person", consent=True)),
    "subject: nothing trained": ("set train_unet to lora",
        lambda at: subject(train_unet="none", train_text_encoder=False),
        lambda at: subject(train_unet="lora", train_text_encoder=False)),
    "subject: not both": ("use train_unet lora",
        lambda at: subject(train_unet="full", train_text_encoder=True),
        lambda at: subject(train_unet="lora", train_text_encoder=True)),
    "subject: one setting": ("leave one out",
        lambda at: subject(rank=4, network_dim=8), lambda at: subject(network_dim=8)),
    "subject: resume": ("use latest, or leave it out",
        lambda at: subject(resume_from_checkpoint="step-3"), lambda at: subject(resume_from_checkpoint="latest")),
    "subject: a picture": ("give at least one JPEG, PNG, WebP, AVIF or HEIC",
        lambda at: usable(at), lambda at: picture(at / "a.png") and usable(at)),
    "subject: weights": ("give at most one each",
        lambda at: fill_weights(["a"], [1, 1]), lambda at: fill_weights(["a"], [1])),
    "order: a picture": ("ask for at least one picture",
        lambda at: Order((1,), "u", looks=0, scenes=0), lambda at: Order((1,), "u", looks=1, scenes=0)),
    "style: diversity": ("must lie in 0..1", lambda at: StyleConfig(diversity=2), lambda at: StyleConfig(diversity=0)),
    "model: items": ("name each of them",
        lambda at: pretrained.save(popularity(), at / "m", items=Vocabulary(("", "a"))),
        lambda at: pretrained.save(popularity(), at / "m", items=Vocabulary(("", "a", "b", "c")))),
    "model: save again": ("save the model again",
        lambda at: (pretrained.save(popularity(), at / "m") / "model.safetensors").write_bytes(b"")
        or pretrained.load(at / "m"),
        lambda at: pretrained.load(pretrained.save(popularity(), at / "m"))),
    "model: run": ("give numbers, strings, lists and dicts",
        lambda at: pretrained.save(popularity(), at / "m", run={"a": {1, 2}}),
        lambda at: pretrained.save(popularity(), at / "m", run={"a": [1, 2]})),
    "names: an own one": ("give every item a name of its own",
        lambda at: Vocabulary(("", "a", "a")), lambda at: Vocabulary(("", "a", "b"))),
    "k": ("the number of items in the catalogue", lambda at: check_k(4, 3), lambda at: check_k(3, 3)),
    "checkpoint: later": ("give a new run its own folder",
        lambda at: [save_checkpoint(at / "steps", step, {}, {}) for step in (5, 3)],
        lambda at: save_checkpoint(at / "other", 3, {}, {})),
    "checkpoint: begin again": ("remove the folder to begin again", damaged_steps, emptied),
    "checkpoint: keep": ("must be at least 2",
        lambda at: save_checkpoint(at / "steps", 1, {}, {}, keep=1),
        lambda at: save_checkpoint(at / "steps", 1, {}, {}, keep=2)),
    "yaml: keep one": ("keep one of them",
        lambda at: parsed("style", "--config", str(table(at, "seed: 1\nseed: 2\n", "a.yaml"))),
        lambda at: parsed("style", "--config", str(table(at, "seed: 2\n", "a.yaml")))),
    "yaml: write it out": ("write it out",
        lambda at: parsed("style", "--config", str(table(at, "seed: &a 1\nlooks: *a\n", "a.yaml"))),
        lambda at: parsed("style", "--config", str(table(at, "seed: 1\nlooks: 1\n", "a.yaml")))),
}  # fmt: skip
"""What is done -> the remedy of the message, the call that fails, and the call as the message wants it."""


def test_forty_remedies_are_followed():
    assert len(REMEDIES) >= 40


@pytest.mark.parametrize("name", REMEDIES)
def test_a_remedy_that_is_followed_helps(name, tmp_path):
    remedy, fails, works = REMEDIES[name]
    with pytest.raises((*OURS, argparse.ArgumentError), match=remedy):
        fails(tmp_path)
    works(tmp_path)
