"""A mean body of the atelier as a template for figures: its depth is that of the people who are measured."""

from functools import cache

import numpy as np

from personagen.atelier.body import Body, skeleton
from personagen.atelier.figure import surfaces
from personagen.atelier.raster import join
from personagen.figure.body import BodyMesh, load_body
from personagen.figure.mesh import Skeleton


@cache
def atelier_body() -> BodyMesh:
    """The atelier's default person without clothes, each vertex bound to the nearest of the template's bones."""
    person = Body()
    skel, template = skeleton(person), load_body()
    mesh = join(surfaces(person, ()))
    names = template.skeleton.names
    heads, tails = np.zeros((len(names), 3)), np.zeros((len(names), 3))
    hips = (skel.hip[0] + skel.hip[1]) / 2
    neck = (skel.shoulder[0] + skel.shoulder[1]) / 2 + [0, 0.05, 0]
    chain = [hips + share * (neck - hips) for share in (0.1, 0.3, 0.55, 0.75, 1.0)]
    spine = dict(zip(("Hips", "Spine", "Spine1", "Spine2", "Neck"), chain))
    top = np.array([0, person.height, neck[2]])
    ends = {name: (at, chain[i + 1] if i < 4 else skel.chin) for i, (name, at) in enumerate(spine.items())}
    ends["Head"] = (np.asarray(skel.chin), top)
    for side, number in (("Left", 1), ("Right", 0)):  # its own left is at x > 0
        places = [getattr(skel, name)[number] for name in ("shoulder", "elbow", "wrist", "hand")]
        legs = [getattr(skel, name)[number] for name in ("hip", "knee", "ankle", "toe")]
        ends[f"{side}Shoulder"] = (neck, places[0])
        for name, (a, b) in zip(("Arm", "ForeArm", "Hand"), zip(places, places[1:])):
            ends[side + name] = (a, b)
        for name, (a, b) in zip(("UpLeg", "Leg", "Foot"), zip(legs, legs[1:])):
            ends[side + name] = (a, b)
        ends[f"{side}ToeBase"] = (legs[3], legs[3] + [0, 0, 0.04])
    for at, name in enumerate(names):
        heads[at], tails[at] = ends[name]
    vertices = mesh.vertices[:, :3].astype(np.float64)
    labels = np.array([patch.name for patch in surfaces(person, ())])
    of = np.zeros(len(vertices), int)
    of[mesh.triangles.ravel()] = np.repeat(mesh.owner, 3)
    bones = np.zeros((len(vertices), 4), np.uint8)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels[of] == label)
        allowed = [at for at, name in enumerate(names) if _fits(str(label), name)]
        far = np.stack([_to_bone(vertices[mine], heads[at], tails[at]) for at in allowed])
        bones[mine, 0] = np.array(allowed)[far.argmin(0)]
    weights = np.zeros((len(vertices), 4), np.float32)
    weights[:, 0] = 1
    rig = Skeleton(names, template.skeleton.parents, heads.astype(np.float32))
    return BodyMesh(vertices.astype(np.float32), mesh.triangles, rig, tails.astype(np.float32), bones, weights)


def _fits(label: str, bone: str) -> bool:
    """Whether a surface of the atelier may follow a bone."""
    limb = bone.removeprefix("Left").removeprefix("Right")
    arms, legs, feet = ("Arm", "ForeArm", "Hand"), ("UpLeg", "Leg"), ("Foot", "ToeBase")
    table = {"arms": arms, "hands": arms, "legs": legs, "shoes": feet, "hair": ("Head",)}
    trunk = ("Hips", "Spine", "Spine1", "Spine2", "Shoulder", "Neck", "Head")  # its skin is called a face, too
    return limb in table.get(label, trunk)


def _to_bone(points: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances of points (n, 3) to a bone."""
    d = b - a
    t = ((points - a) @ d / max(float(d @ d), 1e-9)).clip(0, 1)
    return np.linalg.norm(points - a - t[:, None] * d, axis=1)
