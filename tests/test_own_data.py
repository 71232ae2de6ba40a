"""docs/own-data.md as it stands: its commands, in order, take a made-up shop from files to the page."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from apps import cli
from personagen.atelier.garment import GarmentSpec
from personagen.atelier.render import render_garment
from personagen.styling.sources import atelier
from recsys import load, load_vocabulary

from .place import ROOT

pytestmark = pytest.mark.slow
WARM = [(kind, colour) for kind in ("t-shirt", "skirt", "dress") for colour in ("red", "orange", "yellow")]
COOL = [(kind, colour) for kind in ("sweater", "trousers", "shirt") for colour in ("blue", "teal", "black")]
NEW = ("jacket", "green")
"""In the catalogue from the start, first bought in November."""


def commands() -> list[list[str]]:
    """The words of every line of the bash blocks, from the heading of the walk-through to the next one."""
    text = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
    section = text.split("## From files to the page\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```bash\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def open_shop(folder: Path) -> None:
    """Write what the page asks for: interactions, catalogue with pictures, a photo and its mask."""
    shop = folder / "shop"
    shop.mkdir()
    lines = ["file,id,kind,colour,title"]
    for kind, colour in [*WARM, *COOL, NEW]:
        name = f"{kind}-{colour}"
        Image.fromarray(render_garment(GarmentSpec(kind, colour, sleeve=0.4), size=(160, 120))).save(
            shop / f"{name}.png"
        )
        lines.append(f"{name}.png,{name},{kind},{colour},{colour} {kind}")
    (shop / "garments.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = [["-".join(item) for item in items] for items in (WARM, COOL)]
    users = ["anna", "ben", *(f"customer-{number}" for number in range(40))]
    random = np.random.default_rng(0)
    rows = [
        (user, item, f"2026-01-{day:02d}")
        for number, user in enumerate(users)
        for day, item in enumerate(random.permutation(names[number % 2])[:5], start=1)
    ]
    write(folder / "clicks.csv", rows)
    later = [(user, "-".join(NEW), "2026-11-20") for user in users[:8]]
    write(folder / "november.csv", [*later, ("carl", names[1][0], "2026-11-21"), ("carl", names[1][1], "2026-11-22")])
    write(folder / "today.csv", [("zoe", names[0][0], "2026-11-29"), ("zoe", names[0][4], "2026-11-29 10:00")])
    photo = atelier().sitter("3").image
    photo.save(folder / "anna.jpg", quality=95)
    mask = np.zeros((photo.height, photo.width), np.uint8)
    mask[photo.height // 4 : photo.height // 2, photo.width // 4 : 3 * photo.width // 4] = 255
    Image.fromarray(mask).save(folder / "top.png")


def write(path: Path, rows: list[tuple[str, str, str]]) -> None:
    path.write_text("\n".join(["user,item,timestamp", *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")


def served(words: list[str]) -> str:
    """Open the page on a free port, read it, stop it as Ctrl-C does; return its text and configuration."""
    command = [sys.executable, "-m", "apps.cli", *words[1:], "--port", "0"]
    env = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    assert process.stdout is not None
    try:
        url = next(found[0] for line in process.stdout if (found := re.search(r"http://127[\d.]+:\d+", line)))
        page, config = (urllib.request.urlopen(url + path, timeout=60).read().decode() for path in ("/", "/config"))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)
        return page + config
    finally:
        process.kill()


def test_the_walk_through(tmp_path, monkeypatch, capfd):
    open_shop(tmp_path)
    monkeypatch.chdir(tmp_path)
    pages = []
    for words in commands():
        assert words[0] == "personagen"
        if words[1] == "demo":
            pages.append(served(words))
        else:
            assert cli.main(words[1:]) == 0, shlex.join(words) + "\n" + capfd.readouterr().err
    assert {"user", "rank", "item", "score"} == set(parquet.read_schema("ranks.parquet").names)
    ranked = parquet.read_table("ranks.parquet").to_pylist()
    assert len({row["user"] for row in ranked}) == 42
    taste = {"anna": WARM, "ben": COOL}
    for user, items in taste.items():
        first = min((row for row in ranked if row["user"] == user), key=lambda row: row["rank"])
        assert first["item"] in {"-".join(item) for item in items}
    assert len(load_vocabulary("runs/shop")) == 18 and load("runs/shop").n_items == 18
    assert "-".join(NEW) in load_vocabulary("runs/shop-november").names  # the update knows it, with what came before
    assert set(load_vocabulary("runs/shop").names) < set(load_vocabulary("runs/shop-november").names)
    assert "zoe,1," in capfd.readouterr().out
    for folder, count in (("looks-anna", 2), ("looks-mask", 1), ("looks-zoe", 1)):
        assert Path(folder, "sheet.png").is_file()
        looks = json.loads(Path(folder, "looks.json").read_text(encoding="utf-8"))["looks"]
        assert len(looks) == count and all(Path(folder, look["file"]).is_file() for look in looks)
    assert len(pages) == 1 and "anna" in pages[0] and "customer-1" in pages[0]
