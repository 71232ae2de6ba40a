"""Hostile files, given to every command that reads such a file: the exit codes, and no traceback."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from reliability_jobs import EVERY, Job
from reliability_parts import Bench

from tests.corpus.hostile import Hostile, hostile

FINE = (0, 2, 3, 4, 5)
"""Exit codes of a command that is done, or that refuses in a line."""
STYLE = ("style", "--interactions", "DATA/clicks.csv", "--catalog", "DATA/garments", "--user", "u3", "--recommender",
         "DATA/markov", "--tryon", "DATA/worn", "--text2image", "DATA/painter", "--steps", "1", "--stylist.tryon_steps",
         "1", "--out", "OUT")  # fmt: skip
TRAIN = ("recommend", "train", "--model", "markov", "--out", "OUT")
RANK = ("recommend", "rank", "--data", "DATA/clicks.csv", "--k", "3", "--recommender")
PAINT = ("subject", "generate", "--prompt", "a dog", "--count", "1", "--steps", "1", "--out", "OUT")
MASK = ("tryon", "mask", "--out", "OUT.png")
ON_PAINTER = (*PAINT, "--base", "DATA/painter")
ONE_LOOK = ("--looks", "1", "--scenes", "0", "--person", "DATA/me.jpg")
TEACH = ("subject", "train", "--name", "dog", "--pretrained_model_name_or_path", "DATA/painter", "--max_train_steps",
         "1", "--num_validation_images", "0", "--output_dir", "OUT")  # fmt: skip
GO_ON = ("recommend", "train", "--model", "sasrec", "--data", "DATA/clicks.csv", "--settings.d", "8",
         "--settings.layers", "1", "--train.epochs", "1", "--train.checkpoint_every", str(EVERY), "--out")  # fmt: skip
COMMANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "picture": ((*MASK, "--person", "FILE"), ("subject", "doctor", "--instance_data_dir", "IN me"),
                ("tryon", "wear", "--person", "DATA/me.jpg", "--mask", "DATA/top.png", "--garment", "FILE", "--model",
                 "DATA/worn", "--steps", "1", "--out", "OUT.png")),
    "mask": ((*STYLE, *ONE_LOOK, "--mask", "FILE"),),
    "labels": (("tryon", "train", "--root", "IN photos/people/parsing/0003.png", "--layout", "parsed", "--model",
                "DATA/worn", "--output_dir", "OUT", "--height", "32", "--width", "24", "--loop.steps", "1"),),
    "interactions": ((*TRAIN, "--data", "FILE"), (*RANK, "DATA/markov", "--data", "FILE")),
    "catalog": ((*STYLE, "--looks", "0", "--scenes", "1", "--catalog", "IN garments/garments.csv"),),
    "mapping": ((*STYLE[:5], *STYLE[7:], "--looks", "0", "--scenes", "1", "--subjects", "FILE"),),
    "users": ((*RANK, "DATA/markov", "--users", "@FILE"),),
    "pairs": (("tryon", "evaluate", "--root", "IN shop/test_pairs.txt", "--model", "DATA/worn", "--out", "OUT"),),
    "caption": ((*TEACH, "--instance_data_dir", "IN me/0.txt"),),
    "metadata": ((*TEACH, "--instance_data_dir", "IN me/metadata.jsonl"),),
    "config": (("recommend", "train", "--config", "FILE", "--model", "popularity", "--data", "DATA/clicks.csv", "--out",
                "OUT"), (*STYLE, "--looks", "0", "--scenes", "1", "--config", "FILE")),
    "recommender": ((*RANK, "IN markov/NAME"),),
    "subject": ((*ON_PAINTER, "--subjects", "[IN dog/NAME]"),),
    "model": ((*PAINT, "--base", "IN painter/NAME"),),
    "parser": ((*MASK, "--person", "DATA/me.jpg", "--parser", "IN parser/NAME"),),
    "checkpoint": ((*GO_ON, "IN begun/checkpoints/step-00000004/NAME"),),
    "adapter": ((*ON_PAINTER, "--loras", "[FILE]"),),
    "embedding": ((*ON_PAINTER, "--embeddings", "[FILE]"),),
    "single file": ((*PAINT, "--base", "FILE"),),
}  # fmt: skip
"""Kind of input -> commands. FILE: the file; IN: a copy of a folder of the data in which the file stands for one."""


def hostile_files(bench: Bench, data: Path, *, files: int = 200) -> dict[str, Any]:
    """Give files of every sort to commands that read such files; count exit codes and tracebacks."""
    _save_more(bench, data)
    chosen = bench.random.permutation(np.array(hostile(), dtype=object))[:files]
    codes: Counter[str] = Counter()
    per_kind: Counter[str] = Counter()
    tracebacks, wrong = 0, []
    for one in chosen:
        kind, words = _command(bench, one)
        bench.fresh()
        ended = bench.run(Job("hostile", tuple(_spelled(word, one.path, kind, bench, data) for word in words)))
        codes[str(ended.code)] += 1
        per_kind[kind] += 1
        tracebacks += ended.traceback
        if ended.code not in FINE or ended.traceback or (ended.code and not ended.last.startswith("personagen: ")):
            wrong.append(f"{one.path.parent.name}/{one.path.name} as {kind} in {' '.join(words[:2])}: {ended.code}, "
                         f"{ended.last[:200]}")  # fmt: skip
    return {"runs": len(chosen), "of": len(hostile()), "kinds": dict(sorted(per_kind.items())),
            "codes": dict(sorted(codes.items())), "tracebacks": tracebacks, "wrong": wrong}  # fmt: skip


def _command(bench: Bench, one: Hostile) -> tuple[str, tuple[str, ...]]:
    """Draw what a file stands for, and a command that reads that."""
    kind = str(bench.random.choice(np.array(one.kinds)))
    commands = COMMANDS[kind.partition("/")[0]]
    return kind, commands[int(bench.random.integers(len(commands)))]


def _spelled(word: str, file: Path, kind: str, bench: Bench, data: Path) -> str:
    """Put a word of a command into paths, and the file to its place."""
    word = word.replace("DATA", str(data)).replace("OUT", str(bench.out)).replace("FILE", str(file))
    if "IN " not in word:
        return word
    folder, _, name = word.strip("[]").removeprefix("IN ").partition("/")
    copy = bench.work / "in" / folder
    shutil.copytree(data / folder, copy)
    name = name.replace("NAME", kind.partition("/")[2]) or file.name
    (copy / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, copy / name)
    return f"[{copy}]" if word.startswith("[") else str(copy)


def _save_more(bench: Bench, data: Path) -> None:
    """Add what only hostile files need: a begun training, a subject, a parser, and a folder of pairs."""
    if (data / "shop").is_dir():
        return
    begun = tuple(word.replace("DATA", str(data)) for word in (*GO_ON[:-1], "--train.epochs", "2", "--out"))
    teach = tuple(word.replace("DATA", str(data)).replace("OUT", f"{data}/dog") for word in TEACH)
    for words in ((*begun, f"{data}/begun"), (*teach, "--instance_data_dir", f"{data}/me")):
        bench.fresh()
        ended = bench.run(Job("more", words))
        if ended.code != 0:
            raise SystemExit(ended.stderr)
    from personagen.embedded import EMBEDDED

    shutil.copytree(EMBEDDED["parser"], data / "parser")
    for part, source in (("image", "me.jpg"), ("cloth", "me.jpg")):
        (data / "shop" / "test" / part).mkdir(parents=True)
        shutil.copyfile(data / source, data / "shop" / "test" / part / "00001_00.jpg")
