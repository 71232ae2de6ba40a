"""What reads each kind of input, called as the commands call it, with everything else about it sound."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from apps.cli import parse
from apps.commands.rank import _listed
from apps.commands.style import named
from personagen.adapters.embeddings import load_embedding, read_embedding
from personagen.adapters.lora import load_adapter
from personagen.adapters.read import read_adapter
from personagen.corpora.pairs import load_pair, read_pairs
from personagen.corpora.photos import photo_pairs
from personagen.images import load_gray, load_image
from personagen.metrics.lpips import load_lpips
from personagen.models import load_text2image
from personagen.models.base import load_unet_lora
from personagen.models.single_file import open_single, read_vae_file
from personagen.person.masks import mask_from_file
from personagen.person.parser import load_parser
from personagen.person.parts import Part
from personagen.styling.catalog import FolderCatalog
from personagen.styling.subjects import read_mapping, read_subject
from personagen.subject import SubjectConfig
from personagen.subject.data import scan
from personagen.subject.loaded import load_subjects
from personagen.subject.record import SubjectRun, write_run
from personagen.subject.tokens import load_tokens
from personagen.tryon.attention import load_attention
from recsys import pretrained
from recsys.checkpoint import load_latest, save_checkpoint
from recsys.data.interactions import read_interactions
from recsys.data.vocabulary import Vocabulary
from recsys.errors import ConfigError, DataError, ModelError, ResourceError
from recsys.models import MODELS
from tests.personagen.subject.parts import pipeline

OURS = (ConfigError, DataError, ModelError, ResourceError)
CONFIGURED = (["style"], ["recommend", "train"], ["pretrain"], ["subject", "train"], ["tryon", "wear"], ["demo"])
SIZE = (64, 48)
LETTERS = "abcdefghijk"

Reader = Callable[[Path], object]


def picture(file: Path) -> Image.Image:
    """A photo or a garment."""
    return load_image(file)


def training_picture(file: Path) -> None:
    """Beside a sound one it is used, or left out with a reason."""
    _write_picture(file.parent / "sound.png")
    pictures, findings = scan(file.parent, resolution=64)
    assert all(finding.decision for finding in findings) and pictures


def mask(file: Path) -> np.ndarray:
    """A mask of a photo."""
    load_gray(file)
    return mask_from_file(file, size=SIZE)


def training_mask(file: Path) -> None:
    """The mask beside a training picture."""
    from personagen.subject.data import read_region

    read_region(file, SIZE)


def viton_labels(file: Path) -> None:
    """The parsing of a pair."""
    root = _pairs_root(file.parent)
    shutil.copy(file, root / "test" / "image-parse-v3" / "a.png")
    load_pair(read_pairs(root, "viton-hd", split="test")[0])


def street_labels(file: Path) -> None:
    """The parsing of a street photo."""
    _write_picture(file.parent / "photo.jpg")
    list(photo_pairs(file.parent / "photo.jpg", file, ["null", *(part.name.lower() for part in Part)], size=SIZE))


def catalog(file: Path) -> None:
    """The table of a folder of garments."""
    folder = file.parent / "catalog"
    folder.mkdir(exist_ok=True)
    for letter in LETTERS:
        _write_picture(folder / f"{letter}.png")
    shutil.copy(file, folder / "garments.csv")
    for gaps in (False, True):
        found = FolderCatalog(folder, gaps=gaps)
        for item in range(1, len(found) + 1):
            if found.words(item):
                found[item]


def mapping(file: Path) -> None:
    """Whose subject is whose."""
    (file.parent / "subject").mkdir(exist_ok=True)
    _write_picture(file.parent / "a.png")
    for mapped in read_mapping(file).values():
        if mapped.subject is not None:
            read_subject(mapped.subject)
        if mapped.person is not None:
            load_image(mapped.person)


def users(file: Path) -> None:
    """A list of users, for `style` and for `recommend rank`."""
    for names in (named(str(file)), _listed(str(file)), _listed(f"@{file}")):
        assert names and all(names)


def pairs(file: Path) -> None:
    """A list of pairs, of both layouts."""
    root = _pairs_root(file.parent)
    shutil.copy(file, root / "test_pairs.txt")
    load_pair(read_pairs(root, "viton-hd", split="test", paired=False)[0])


def caption(file: Path) -> None:
    """The caption beside a training picture."""
    _write_picture(file.parent / "a.png")
    for ending in (".txt", ".caption"):
        shutil.copy(file, file.parent / f"a{ending}")
        scan(file.parent)
        (file.parent / f"a{ending}").unlink()


def metadata(file: Path) -> None:
    """The metadata.jsonl beside training pictures."""
    for letter in "abc":
        _write_picture(file.parent / f"{letter}.png")
    shutil.copy(file, file.parent / "metadata.jsonl")
    scan(file.parent)


def config(file: Path) -> None:
    """The YAML file of every kind of command; argparse's own error is what the command line shows."""
    import argparse

    for words in CONFIGURED:
        try:
            parse([*words, "--config", str(file)])
        except argparse.ArgumentError as error:
            assert str(error)
        except OURS:
            pass


def adapter(file: Path) -> None:
    """An adapter file, by itself and for a base model."""
    with_pipe(lambda pipe: (read_adapter(file), load_adapter(pipe, file)), lambda pipe: load_adapter(pipe, file))


def unet_lora(file: Path) -> None:
    """The LoRA of a try-on base."""
    with_pipe(lambda pipe: load_unet_lora(pipe.unet, file))


def embedding(file: Path) -> None:
    """A textual inversion."""
    with_pipe(lambda pipe: (read_embedding(file), load_embedding(pipe, file)))


def tokens(file: Path) -> None:
    """The new words of a subject."""
    with_pipe(lambda pipe: load_tokens(pipe, file, ["<s0>", "<s1>"]))


def single_file(file: Path) -> None:
    """A single file of Stable Diffusion."""
    open_single(file)


def vae_file(file: Path) -> None:
    """An autoencoder's file."""
    read_vae_file(file, xl=False, dtype=torch.float32)


def attention(file: Path) -> None:
    """Attention weights of a try-on base."""
    with_pipe(lambda pipe: load_attention(pipe.unet, file))


def lpips(file: Path) -> None:
    """Weights of LPIPS."""
    load_lpips(file)


def with_pipe(*calls: Callable[[Any], object]) -> None:
    """Call each with a tiny model; every one of our errors is allowed, the last is raised."""
    last: Exception | None = None
    for call in calls:
        try:
            call(pipeline("sd1"))
        except OURS as error:
            last = error
    if last is not None:
        raise last


def recommender(name: str) -> Reader:
    """A file of a saved recommender, in the place of the sound one."""

    def read(file: Path) -> None:
        for model in ("popularity", "sasrec"):
            folder = _recommender(file.parent / model, model)
            shutil.copy(file, folder / name)
            try:
                pretrained.load_vocabulary(folder)
                pretrained.load_tally(folder)
                pretrained.fingerprint(folder)
            except OURS:
                pass
            pretrained.load(folder)

    return read


def subject(name: str) -> Reader:
    """A file of a subject's result folder, in the place of the sound one."""

    def read(file: Path) -> None:
        folder = file.parent / "subject"
        config = SubjectConfig("pictures", "dog", output_dir=str(folder), pretrained_model_name_or_path="embedded")
        save_file({"unet.a.lora_A.weight": torch.zeros(1, 1)}, _new(folder) / "pytorch_lora_weights.safetensors")
        write_run(SubjectRun(config), folder)
        shutil.copy(file, folder / name)
        read_subject(folder)
        load_subjects([folder])

    return read


def text2image(name: str) -> Reader:
    """A file of a model's folder, in the place of the sound one."""

    def read(file: Path) -> None:
        folder = _text2image(file.parent / "model")
        shutil.copy(file, folder / name)
        load_text2image(folder)

    return read


def parser(name: str) -> Reader:
    """A file of a parser's folder, in the place of the sound one."""

    def read(file: Path) -> None:
        from personagen.embedded import EMBEDDED

        folder = _new(file.parent / "parser")
        for each in ("config.json", "model.safetensors"):
            (folder / each).symlink_to(EMBEDDED["parser"] / each)
        (folder / name).unlink()
        shutil.copy(file, folder / name)
        load_parser(folder)

    return read


def checkpoint(name: str) -> Reader:
    """A file of a training checkpoint, in the place of the sound one; then with a manifest that knows it."""

    def read(file: Path) -> None:
        from recsys.checkpoint import MANIFEST, _sha256

        for known in (False, True):
            folder = _new(file.parent / "checkpoints")
            path = save_checkpoint(folder, 3, {"model": {"w": torch.zeros(3)}}, {"epoch": 1})
            shutil.copy(file, path / name)
            if known and name != MANIFEST:
                manifest = json.loads((path / MANIFEST).read_text())
                manifest["sha256"][name] = _sha256(path / name)
                (path / MANIFEST).write_text(json.dumps(manifest))
            try:
                load_latest(folder)
            except OURS:
                pass

    return read


READERS: dict[str, tuple[Reader, ...]] = {
    "picture": (picture, training_picture),
    "mask": (mask, training_mask),
    "labels": (viton_labels, street_labels),
    "interactions": (read_interactions,),
    "catalog": (catalog,),
    "mapping": (mapping,),
    "users": (users,),
    "pairs": (pairs,),
    "caption": (caption,),
    "metadata": (metadata,),
    "config": (config,),
    "adapter": (adapter, unet_lora),
    "embedding": (embedding, tokens),
    "single file": (single_file, vae_file, attention, lpips),
    **{f"recommender/{name}": (recommender(name),)
       for name in ("config.json", "items.json", "run.json", "model.safetensors", "tally.safetensors")},
    **{f"subject/{name}": (subject(name),) for name in ("run.json", "pytorch_lora_weights.safetensors")},
    **{f"model/{name}": (text2image(name),) for name in ("model_index.json", "unet/config.json")},
    **{f"parser/{name}": (parser(name),) for name in ("config.json", "model.safetensors")},
    **{f"checkpoint/{name}": (checkpoint(name),) for name in ("state.json", "manifest.json", "model.safetensors")},
}  # fmt: skip
"""Kind of input -> what reads it."""


def _new(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _write_picture(file: Path) -> None:
    if not file.exists():
        values = np.random.default_rng(len(file.name)).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(values).save(file)


def _pairs_root(folder: Path) -> Path:
    root = folder / "viton"
    if not root.exists():
        for name in ("image", "cloth", "image-parse-v3"):
            (root / "test" / name).mkdir(parents=True)
        for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "a photo.jpg"):
            for sort in ("image", "cloth"):
                _write_picture(root / "test" / sort / name)
            values = np.zeros(SIZE, np.uint8)
            values[16:48, 8:40] = 5
            Image.fromarray(values).save(root / "test" / "image-parse-v3" / f"{Path(name).stem}.png")
        (root / "test_pairs.txt").write_text("a.jpg c.jpg\n")
    return root


def _recommender(folder: Path, name: str) -> Path:
    cls, kind = MODELS[name]
    model = cls(kind(n_items=11, **({"d": 8} if name == "sasrec" else {})))
    if hasattr(model, "fit"):
        model.fit([np.arange(1, 6), np.arange(3, 12)])
    return pretrained.save(model, folder, items=Vocabulary(("", *(f"i{n}" for n in range(11)))))


def _text2image(folder: Path) -> Path:
    from personagen.pretrain.save import write_tokenizer_files
    from personagen.quiet import quiet

    if not folder.exists():
        pipe = pipeline("sd1")
        with quiet():
            pipe.save_pretrained(folder)
        write_tokenizer_files(pipe.tokenizer, folder / "tokenizer")
    sound = folder.with_name("sound model")
    if not sound.exists():
        shutil.copytree(folder, sound)
    return Path(shutil.copytree(sound, folder, dirs_exist_ok=True))
