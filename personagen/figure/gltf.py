"""Write a figure as .glb (glTF 2.0, binary), for Blender, three.js and game engines.

A layer is a node of its own name with one mesh; all share one material and one texture. The skeleton's bones are nodes
that stand unturned in the photo's pose, so that what binds a vertex to a bone is a shift. A pose is written as turns of
these nodes and a walk as an animation of them: the file stays one that can be posed otherwise.
"""

import io
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recsys.errors import ConfigError

from ..files import write_whole
from .mesh import Figure, Layer, Skeleton
from .mesh import normals as vertex_normals
from .rig import welded

Motion = Sequence[tuple[np.ndarray, np.ndarray]]
"""Key poses: turns (J, 3, 3) in the figure's axes and heads (J, 3)."""
FLOAT, BYTE, SHORT, WORD = 5126, 5121, 5123, 5125
ARRAY, ELEMENTS = 34962, 34963
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Clip:
    """An animation: key poses, evenly spaced over some seconds. A walk ends in the pose that it began with."""

    name: str
    motion: Motion
    seconds: float = 1.2


class _Buffer:
    """The binary part of a file, and the accessors that say what lies where."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, data: bytes, *, target: int | None = None) -> int:
        self.data += bytes(-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)}
        self.views.append(view if target is None else view | {"target": target})
        self.data += data
        return len(self.views) - 1

    def add(
        self, array: np.ndarray, component: int, kind: str, *, target: int | None = None, bounds: bool = False,
        normalised: bool = False,
    ) -> int:  # fmt: skip
        accessor = {
            "bufferView": self.view(np.ascontiguousarray(array).tobytes(), target=target),
            "componentType": component, "count": len(array), "type": kind,
        }  # fmt: skip
        if bounds:
            flat = array.reshape(len(array), -1)
            accessor |= {"min": flat.min(0).tolist(), "max": flat.max(0).tolist()}
        self.accessors.append(accessor | ({"normalized": True} if normalised else {}))
        return len(self.accessors) - 1


def write_glb(
    figure: Figure, path: Path, *, record: Mapping[str, Any] | None = None,
    pose: tuple[np.ndarray, np.ndarray] | None = None, clips: Sequence[Clip] = (), unlit: bool = False,
) -> Path:  # fmt: skip
    """Write a figure as one .glb file, whole or not at all; return its path.

    record: how it was made, for the file's `asset.extras`. pose: how its bones stand (`poses.placed`). unlit: let
    viewers show the texture's colours without a lamp of their own, in the photo's light (`Layer.light`, as COLOR_0).

    Raises:
        ConfigError: the path does not end in .glb.
        ResourceError: the disk refuses.
    """
    if path.suffix.lower() != ".glb":
        raise ConfigError(f"{path} does not end in .glb; give a name that does")
    data = glb_bytes(figure, record=record, pose=pose, clips=clips, unlit=unlit)
    return write_whole(path, lambda part: part.write_bytes(data))


def glb_bytes(
    figure: Figure, *, record: Mapping[str, Any] | None = None, pose: tuple[np.ndarray, np.ndarray] | None = None,
    clips: Sequence[Clip] = (), unlit: bool = False,
) -> bytes:  # fmt: skip
    """Return a figure as the bytes of a .glb file; see `write_glb`."""
    buffer = _Buffer()
    tree: dict[str, Any] = {"nodes": [], "meshes": []}
    texture, share = _power_of_two(figure.texture)
    top, skeleton = [], figure.skeleton if any(layer.bones is not None for layer in figure.layers) else None
    for layer in figure.layers:
        if not len(layer.faces):
            continue
        node = {"name": layer.name, "mesh": len(tree["meshes"])}
        tree["meshes"].append(_mesh(buffer, layer, share, rigged=skeleton is not None, lit=unlit))
        tree["nodes"].append(node | ({} if skeleton is None or layer.bones is None else {"skin": 0}))
        top.append(len(tree["nodes"]) - 1)
    if skeleton is not None:
        first = len(tree["nodes"])
        tree["nodes"] += _bone_nodes(skeleton, first, pose)
        top += [first + at for at, parent in enumerate(skeleton.parents) if parent < 0]
        tree["skins"] = [_skin(buffer, skeleton, first)]
        if clips:
            tree["animations"] = [_animation(buffer, skeleton, first, clip) for clip in clips]
    tree |= _look(buffer, texture, unlit=unlit)
    tree |= {"scene": 0, "scenes": [{"name": "figure", "nodes": top}], "asset": _asset(record)}
    tree |= {"accessors": buffer.accessors, "bufferViews": buffer.views, "buffers": [{"byteLength": len(buffer.data)}]}
    return _packed(tree, bytes(buffer.data))


def _packed(tree: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(tree, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    data += bytes(-len(data) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(data), 0x004E4942) + data
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks


def _asset(record: Mapping[str, Any] | None) -> dict[str, Any]:
    asset: dict[str, Any] = {"version": "2.0", "generator": "personagen"}
    return asset if record is None else asset | {"extras": {"schema": "personagen/1", **record}}


def _power_of_two(texture: Image.Image) -> tuple[Image.Image, np.ndarray]:
    """Pad a texture to sides that every viewer takes, 2^n; return the share (2,) of width and height that it fills."""
    size = (1 << (texture.width - 1).bit_length(), 1 << (texture.height - 1).bit_length())
    if size == texture.size:
        return texture, np.ones(2, np.float32)
    padded = Image.new("RGB", size, texture.convert("RGB").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)))
    padded.paste(texture)
    return padded, np.array([texture.width / size[0], texture.height / size[1]], np.float32)


def _look(buffer: _Buffer, texture: Image.Image, *, unlit: bool) -> dict[str, Any]:
    """The texture, and the one material that shows it: dull, and seen from both sides, for hems are open."""
    stream = io.BytesIO()
    texture.convert("RGB").save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    surface = {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 1.0}
    material: dict[str, Any] = {"name": "figure", "pbrMetallicRoughness": surface, "doubleSided": True}
    look: dict[str, Any] = {
        "images": [{"name": "texture", "mimeType": "image/jpeg", "bufferView": buffer.view(stream.getvalue())}],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
        "textures": [{"source": 0, "sampler": 0}],
        "materials": [material],
    }
    if unlit:
        material["extensions"] = {"KHR_materials_unlit": {}}
        look["extensionsUsed"] = ["KHR_materials_unlit"]
    return look


def _mesh(buffer: _Buffer, layer: Layer, share: np.ndarray, *, rigged: bool, lit: bool) -> dict[str, Any]:
    few = len(layer.vertices) < 65535
    faces = layer.faces.astype(np.uint16 if few else np.uint32).reshape(-1)
    attributes = {
        "POSITION": buffer.add(layer.vertices.astype(np.float32), FLOAT, "VEC3", target=ARRAY, bounds=True),
        "NORMAL": buffer.add(smooth_normals(layer), FLOAT, "VEC3", target=ARRAY),
        "TEXCOORD_0": buffer.add((layer.uv * share).astype(np.float32), FLOAT, "VEC2", target=ARRAY),
    }
    if lit and layer.light is not None:
        light = np.round(np.pad(layer.light.clip(0, 1), ((0, 0), (0, 1)), constant_values=1.0) * 65535)
        attributes["COLOR_0"] = buffer.add(light.astype(np.uint16), SHORT, "VEC4", target=ARRAY, normalised=True)
    if rigged and layer.bones is not None and layer.weights is not None:
        bones, weights = whole_weights(layer.bones, layer.weights)
        attributes["JOINTS_0"] = buffer.add(bones, BYTE, "VEC4", target=ARRAY)
        attributes["WEIGHTS_0"] = buffer.add(weights, SHORT, "VEC4", target=ARRAY, normalised=True)
    indices = buffer.add(faces, SHORT if few else WORD, "SCALAR", target=ELEMENTS)
    return {"name": layer.name, "primitives": [{"attributes": attributes, "indices": indices, "material": 0}],
            "extras": {"kind": layer.kind}}  # fmt: skip


def smooth_normals(layer: Layer) -> np.ndarray:
    """Unit normals (V, 3) of a layer, the same on both sides of a texture's seam; up where a vertex has no face."""
    place, _ = welded(layer.vertices, layer.faces)
    first = np.zeros(int(place.max(initial=-1)) + 1, np.int64)
    first[place[::-1]] = np.arange(len(place))[::-1]
    found = vertex_normals(layer.vertices[first], place[layer.faces])[place]
    found[np.linalg.norm(found, axis=1) < 0.5] = (0.0, 1.0, 0.0)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def whole_weights(bones: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return bones uint8 and weights uint16 (V, 4) that sum to 65535 exactly; a bone without weight is 0."""
    share = weights.astype(np.float64) / np.maximum(weights.sum(1, keepdims=True), 1e-9)
    whole = np.floor(share * 65535).astype(np.int64)
    whole[np.arange(len(whole)), whole.argmax(1)] += 65535 - whole.sum(1)
    return np.where(whole > 0, bones, 0).astype(np.uint8), whole.astype(np.uint16)


def _bone_nodes(
    skeleton: Skeleton, first: int, pose: tuple[np.ndarray, np.ndarray] | None
) -> list[dict[str, Any]]:  # fmt: skip
    turns, heads = pose or (np.broadcast_to(np.eye(3), (len(skeleton.names), 3, 3)), skeleton.heads)
    spins, shifts = local(skeleton, turns, heads)
    nodes = []
    for at, name in enumerate(skeleton.names):
        node: dict[str, Any] = {"name": name, "translation": [float(x) for x in shifts[at]]}
        if abs(spins[at, 3]) < 1.0 - 1e-9:
            node["rotation"] = [float(x) for x in spins[at]]
        if children := [first + k for k, parent in enumerate(skeleton.parents) if parent == at]:
            node["children"] = children
        nodes.append(node)
    return nodes


def _skin(buffer: _Buffer, skeleton: Skeleton, first: int) -> dict[str, Any]:
    bind = np.tile(np.eye(4, dtype=np.float32), (len(skeleton.names), 1, 1))
    bind[:, 3, :3] = -skeleton.heads  # glTF's matrices lie column by column
    root = first + int(np.flatnonzero(np.asarray(skeleton.parents) < 0)[0])
    return {"name": "skeleton", "joints": [first + at for at in range(len(skeleton.names))], "skeleton": root,
            "inverseBindMatrices": buffer.add(bind.reshape(-1, 16), FLOAT, "MAT4")}  # fmt: skip


def _animation(buffer: _Buffer, skeleton: Skeleton, first: int, clip: Clip) -> dict[str, Any]:
    times = np.linspace(0.0, clip.seconds, len(clip.motion), dtype=np.float32)
    at_times = buffer.add(times[:, None], FLOAT, "SCALAR", bounds=True)
    keys = [local(skeleton, *pose) for pose in clip.motion]
    samplers, channels = [], []

    def add(bone: int, path: str, values: np.ndarray, kind: str) -> None:
        output = buffer.add(values.astype(np.float32), FLOAT, kind)
        samplers.append({"input": at_times, "output": output, "interpolation": "LINEAR"})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": first + bone, "path": path}})

    for bone, parent in enumerate(skeleton.parents):
        spins = same_side(np.stack([key[0][bone] for key in keys]))
        if np.abs(spins[:, 3]).min() < 1.0 - 1e-6:
            add(bone, "rotation", spins, "VEC4")
        shifts = np.stack([key[1][bone] for key in keys])
        if parent < 0 and np.ptp(shifts, axis=0).max() > 1e-5:
            add(bone, "translation", shifts, "VEC3")
    return {"name": clip.name, "samplers": samplers, "channels": channels}


def local(skeleton: Skeleton, turns: np.ndarray, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a pose as each bone's own: quaternions (J, 4) as x, y, z, w, and shifts (J, 3) from its parent."""
    spins, shifts = [], []
    for at, parent in enumerate(skeleton.parents):
        above = np.eye(3) if parent < 0 else turns[parent]
        spins.append(quaternion(above.T @ turns[at]))
        shifts.append(heads[at] if parent < 0 else above.T @ (heads[at] - heads[parent]))
    return np.stack(spins), np.stack(shifts)


def quaternion(turn: np.ndarray) -> np.ndarray:
    """Return a rotation (3, 3) as a unit quaternion (4,): x, y, z, w with w not negative."""
    m = np.asarray(turn, np.float64)
    four = np.array([  # the eigenvector of the largest eigenvalue is it, also for half turns (Bar-Itzhack, 2000)
        [m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
        [m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
        [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1], m[1, 0] - m[0, 1]],
        [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m[0, 0] + m[1, 1] + m[2, 2]],
    ])  # fmt: skip
    found = np.linalg.eigh(four)[1][:, -1]
    return found if found[3] >= 0 else -found


def same_side(spins: np.ndarray) -> np.ndarray:
    """Flip quaternions (K, 4) in turn so that each lies on the side of the one before it: the short way between."""
    out = spins.copy()
    for at in range(1, len(out)):
        if out[at] @ out[at - 1] < 0:
            out[at] = -out[at]
    return out
