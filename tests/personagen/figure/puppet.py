"""A figure of capsules whose arms hang along its trunk: small, closed, and in every place known."""

from dataclasses import replace

import numpy as np
from PIL import Image

from personagen.figure.mesh import Figure, Layer, Skeleton
from personagen.figure.rig import Skin, skin_weights

BONES: dict[str, tuple[str, tuple[float, float, float]]] = {
    "Hips": ("", (0.0, 0.92, 0.0)),
    "Spine": ("Hips", (0.0, 1.02, 0.0)),
    "Neck": ("Spine", (0.0, 1.42, 0.0)),
    "Head": ("Neck", (0.0, 1.50, 0.0)),
    "LeftShoulder": ("Spine", (0.05, 1.38, 0.0)),
    "LeftArm": ("LeftShoulder", (0.20, 1.36, 0.0)),
    "LeftForeArm": ("LeftArm", (0.23, 1.08, 0.0)),
    "LeftHand": ("LeftForeArm", (0.25, 0.82, 0.02)),
    "LeftUpLeg": ("Hips", (0.09, 0.88, 0.0)),
    "LeftLeg": ("LeftUpLeg", (0.10, 0.47, 0.0)),
    "LeftFoot": ("LeftLeg", (0.10, 0.08, 0.0)),
    "LeftToeBase": ("LeftFoot", (0.10, 0.03, 0.12)),
}
TUBES = {  # name: ends and radius
    "trunk": ((0.0, 0.95, 0.0), (0.0, 1.38, 0.0), 0.14),
    "head": ((0.0, 1.55, 0.0), (0.0, 1.62, 0.0), 0.09),
    "left arm": ((0.20, 1.33, 0.0), (0.25, 0.78, 0.02), 0.045),
    "left leg": ((0.09, 0.86, 0.0), (0.10, 0.07, 0.0), 0.065),
}


def skeleton() -> Skeleton:
    """Return the puppet's bones, both sides, under Mixamo's names."""
    rows = list(BONES.items())
    rows += [(n.replace("Left", "Right"), (p.replace("Left", "Right"), (-x, y, z))) for n, (p, (x, y, z)) in rows
             if n.startswith("Left")]  # fmt: skip
    names = [name for name, _ in rows]
    parents = [names.index(parent) if parent else -1 for _, (parent, _) in rows]
    heads = np.array([head for _, (_, head) in rows], np.float32)
    return Skeleton(tuple(f"mixamorig:{name}" for name in names), np.array(parents), heads)


def capsule(a: np.ndarray, b: np.ndarray, radius: float, *, rings: int = 24, around: int = 24) -> tuple:
    """Return vertices (V, 3) and outward faces (F, 3) of a closed tube with round ends from `a` to `b`."""
    along = (b - a) / np.linalg.norm(b - a)
    side = np.cross(along, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    other = np.cross(along, side)
    rows = [(0.0, -np.cos(t), np.sin(t)) for t in np.linspace(0.2, np.pi / 2, 5)]
    rows += [(s, 0.0, 1.0) for s in np.linspace(0.0, 1.0, rings)[1:-1]]
    rows += [(1.0, np.sin(t), np.cos(t)) for t in np.linspace(0.0, np.pi / 2 - 0.2, 5)]
    turn = np.arange(around) * 2 * np.pi / around
    circle = np.cos(turn)[:, None] * side + np.sin(turn)[:, None] * other
    body = [a + s * (b - a) + radius * (h * along + r * circle) for s, h, r in rows]
    vertices = np.concatenate([*body, [a - radius * along], [b + radius * along]])
    faces, last = [], (len(rows) - 1) * around
    for k in range(around):
        n = (k + 1) % around
        for row in range(len(rows) - 1):
            p, q = row * around, (row + 1) * around
            faces += [(p + k, q + k, p + n), (p + n, q + k, q + n)]
        faces += [(len(vertices) - 2, k, n), (len(vertices) - 1, last + n, last + k)]
    out = np.array(faces, np.int32)
    centre = vertices.mean(0)
    volume = np.einsum("fi,fi->f", vertices[out[:, 0]] - centre,
                       np.cross(vertices[out[:, 1]] - centre, vertices[out[:, 2]] - centre)).sum()  # fmt: skip
    return vertices.astype(np.float32), out if volume > 0 else out[:, ::-1].copy()


def tubes() -> dict[str, tuple]:
    """Return name -> (vertices, faces) of the puppet's closed parts, both sides."""
    rows = dict(TUBES)
    for name, ((ax, ay, az), (bx, by, bz), radius) in TUBES.items():
        if name.startswith("left"):
            rows[name.replace("left", "right")] = ((-ax, ay, az), (-bx, by, bz), radius)
    return {name: capsule(np.array(a), np.array(b), radius) for name, (a, b, radius) in rows.items()}


def body_skin() -> Skin:
    """Return weights along the bones: those of a part belong to its own bones alone."""
    bones, names = skeleton(), [name.rpartition(":")[2] for name in skeleton().names]
    chain: dict[str, tuple[str, ...]] = {"trunk": ("Hips", "Spine"), "head": ("Head",)}
    for side in ("Left", "Right"):
        chain[f"{side.lower()} arm"] = (f"{side}Arm", f"{side}ForeArm", f"{side}Hand")
        chain[f"{side.lower()} leg"] = (f"{side}UpLeg", f"{side}Leg", f"{side}Foot")
    points, joints, parts = [], [], []
    for part, (name, (vertices, _)) in enumerate(tubes().items()):
        at = np.array([names.index(bone) for bone in chain[name]])
        height = vertices[:, 1][:, None]
        own = (bones.heads[at, 1] >= height) if name.endswith(("arm", "leg")) else bones.heads[at, 1] <= height
        joints.append(at[np.maximum(own.sum(1) - 1, 0)])
        points.append(vertices)
        parts.append(np.full(len(vertices), part))
    joint = np.concatenate(joints)
    four = np.zeros((len(joint), 4), np.int64)
    four[:, 0] = joint
    return Skin(np.concatenate(points), four, np.eye(1, 4).repeat(len(joint), 0), np.concatenate(parts))


def puppet() -> Figure:
    """Return the puppet, rigged: its trunk is a garment, the rest its body, on a texture of two colours."""
    skin, layers = body_skin(), {"t-shirt": [], "body": []}
    for part, (name, (vertices, faces)) in enumerate(tubes().items()):
        bones, weights = skin_weights(vertices, faces, np.full(len(vertices), part), skin, spread=10)
        layers["t-shirt" if name == "trunk" else "body"].append((vertices, faces, bones, weights))
    texture = Image.new("RGB", (64, 64), (200, 150, 120))
    texture.paste((40, 84, 196), (32, 0, 64, 64))
    made = []
    for kind, pieces in layers.items():
        starts = np.cumsum([0, *(len(piece[0]) for piece in pieces)])
        vertices = np.concatenate([piece[0] for piece in pieces])
        uv = np.stack([np.full(len(vertices), 0.75 if kind == "t-shirt" else 0.25), 1 - vertices[:, 1] / 2], 1)
        faces = np.concatenate([piece[1] + start for piece, start in zip(pieces, starts)])
        made.append(Layer(kind, vertices, faces.astype(np.int32), uv.astype(np.float32), kind,
                          np.concatenate([piece[2] for piece in pieces]),
                          np.concatenate([piece[3] for piece in pieces])))  # fmt: skip
    return Figure(tuple(made[::-1]), texture, skeleton(), 1.71)


def lights(figure: Figure) -> np.ndarray:
    """Return the light (V, 3) of all vertices of a figure."""
    return np.concatenate([np.ones_like(one.vertices) if one.light is None else one.light for one in figure.layers])


def sided_puppet() -> Figure:
    """Return the puppet on a texture of its own for front and back: left and right halves, by the side of a vertex."""
    figure = puppet()
    layers = []
    for layer in figure.layers:
        centre = np.array([[np.sign(x) * 0.22 * (abs(x) > 0.15), 0] for x in layer.vertices[:, 0]])
        turn = np.arctan2(layer.vertices[:, 0] - centre[:, 0], layer.vertices[:, 2]) / (2 * np.pi) + 0.5
        layers.append(replace(layer, uv=np.stack([turn, layer.uv[:, 1]], 1).astype(np.float32)))
    return replace(figure, layers=tuple(layers), texture=Image.new("RGB", (96, 96), (120, 90, 200)))
