"""Read a .glb file by the words of glTF's specification, apart from the code that writes it."""

import json
import struct
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

TYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Decoded:
    """The JSON part of a file as `tree`, and its accessors."""

    def __init__(self, data: bytes) -> None:
        magic, version, length = struct.unpack_from("<III", data)
        assert (magic, version, length) == (0x46546C67, 2, len(data))
        size, kind = struct.unpack_from("<II", data, 12)
        assert kind == 0x4E4F534A
        self.tree: dict[str, Any] = json.loads(data[20 : 20 + size])
        rest, kind = struct.unpack_from("<II", data, 20 + size)
        assert kind == 0x004E4942 and 28 + size + rest == len(data)
        self.binary = data[28 + size :]

    def read(self, number: int) -> np.ndarray:
        """Return an accessor's rows."""
        accessor = self.tree["accessors"][number]
        view = self.tree["bufferViews"][accessor["bufferView"]]
        dtype, width = TYPES[accessor["componentType"]], WIDTH[accessor["type"]]
        rows = np.frombuffer(self.binary, dtype, accessor["count"] * width, view["byteOffset"]).reshape(-1, width)
        return rows / {1: 255, 2: 65535}[rows.itemsize] if accessor.get("normalized") else rows

    def node(self, name: str) -> dict[str, Any]:
        """Return a node by its name."""
        return next(node for node in self.tree["nodes"] if node["name"] == name)

    def worlds(self, turned: dict[int, np.ndarray] | None = None) -> np.ndarray:
        """Return each node's place in the world (N, 4, 4); turned: node -> quaternion in place of its own."""
        nodes = self.tree["nodes"]
        out = np.tile(np.eye(4), (len(nodes), 1, 1))

        def visit(at: int, above: np.ndarray) -> None:
            own = np.eye(4)
            spin = (turned or {}).get(at, nodes[at].get("rotation", [0.0, 0.0, 0.0, 1.0]))
            own[:3, :3] = Rotation.from_quat(spin).as_matrix()
            own[:3, 3] = nodes[at].get("translation", [0.0, 0.0, 0.0])
            out[at] = above @ own
            for child in nodes[at].get("children", []):
                visit(child, out[at])

        for top in self.tree["scenes"][0]["nodes"]:
            visit(top, np.eye(4))
        return out

    def vertices(self, name: str, turned: dict[int, np.ndarray] | None = None) -> np.ndarray:
        """Return where a viewer shows a layer's vertices (V, 3): skinned as the specification says."""
        attributes = self.tree["meshes"][self.node(name)["mesh"]]["primitives"][0]["attributes"]
        flat = np.concatenate(
            [self.read(attributes["POSITION"]), np.ones((self.tree["accessors"][attributes["POSITION"]]["count"], 1))],
            1,
        )
        skin = self.tree["skins"][self.node(name)["skin"]]
        bind = self.read(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        moves = self.worlds(turned)[skin["joints"]] @ bind
        joints, weights = self.read(attributes["JOINTS_0"]), self.read(attributes["WEIGHTS_0"])
        return np.einsum("vk,vkij,vj->vi", weights, moves[joints], flat)[:, :3]
