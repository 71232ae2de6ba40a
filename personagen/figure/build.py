"""Build a figure from a dressed picture: maps, body, surfaces, pictures of both sides, layers, skin weights."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ..atelier.light import Light
from ..images import erode
from ..person.joints import Joint
from .atlas import Atlas
from .behind import back_sheet, from_back_photo
from .body import BodyMesh, load_body, pose
from .facing import read_stance
from .layers import Piece, cut, labelled
from .lens import Lens, lens_of
from .light import carried_light, read_light
from .maps import Maps, picture_of, read_maps
from .mesh import Figure, Layer, Skeleton
from .nets import Surface, open_edges, volume_of
from .paint import CORE_NAME, Canvas, front_sheets
from .raster import look_up, rasterise
from .rig import carried, surface_weights, welded
from .volume import arm_surface, core_surface

TOES = 0.12
"""How far before the person the tips of the toes are, as a share of the height."""
SOLE = 0.10
"""Height in metres up to which what looks down of a foot is its sole."""
FINE_STEP, STEP = 1, 2
"""Cells of the maps a voxel's side: 3.5 and 7 mm."""


@dataclass(frozen=True)
class Dressed:
    """A dressed picture as it is read: parts (H, W) and joints (13, 3) of it, where each garment lies by its kind, in
    order, and where the person is, bool (H, W) or None."""

    picture: Image.Image
    parts: np.ndarray
    joints: np.ndarray
    covers: Mapping[str, np.ndarray]
    outline: np.ndarray | None = None


@dataclass(frozen=True)
class Shape:
    """What a photo does not tell of a person: height in metres, build from 0 (a woman's) to 1 (a man's), weight from -1
    (thin) to 1 (heavy)."""

    height: float = 1.7
    build: float = 0.5
    weight: float = 0.0


def build_figure(
    dressed: Dressed,
    *,
    shape: Shape | None = None,
    back: Dressed | None = None,
    bust: bool = False,
    fine: bool = False,
    body: BodyMesh | None = None,
    tell: Callable[[str], None] = lambda stage: None,
) -> Figure:
    """Turn a dressed picture into a figure.

    back: of the same person from behind, in the same clothes. bust: the feet are not in the picture. fine: voxels of
    3.5 instead of 7 mm. body: a template of one's own. tell: hears of each stage before it begins.
    """
    shape, clock = shape or Shape(), _Clock(tell)
    clock("geometry")
    maps = read_maps(
        dressed.parts, dressed.joints, kinds=dressed.covers, outline=dressed.outline, height=shape.height, bust=bust
    )
    template = load_body(build=shape.build, weight=shape.weight) if body is None else body
    lens = Lens() if bust else lens_of(TOES * maps.height)
    ground, stance = None if bust else lens.ground, read_stance(maps)
    posed = _seen(pose(template, whole_joints(maps), height=shape.height, ground=ground, stance=stance), lens)
    surfaces = _surfaces(maps, posed, lens, step=FINE_STEP if fine else STEP)
    clock("colours")
    canvas = Canvas(maps, dressed.picture, tuple(dressed.covers))
    fronts = front_sheets(canvas)
    behind = back_sheet(canvas, fronts[CORE_NAME])
    if back is not None:
        behind = _seen_behind(canvas, fronts, back, shape, bust=bust)
    clock("layers")
    atlas = Atlas(canvas, fronts, behind)
    pieces = [labelled(name, surface, atlas) for name, surface in surfaces.items()]
    cuts = cut(pieces, atlas, canvas.kinds)
    measured = _front(cuts, atlas, dressed.picture) | _soundness(cuts, surfaces)
    clock("rig")
    lamp = None if back is not None else read_light(maps, picture_of(maps, dressed.picture), surfaces)
    layers, skeleton = _rigged(cuts, pieces, posed, maps, lamp=lamp, lens=lens)
    report = measured | clock.seconds() | {"bust": float(bust), "skirt": float(maps.skirt), "turned": stance.turned}
    return Figure(layers, atlas.texture, skeleton, shape.height, report)


def _seen(body: BodyMesh, lens: Lens) -> BodyMesh:
    """A body of the world as the picture shows it."""
    skeleton = replace(body.skeleton, heads=lens.to_picture(body.skeleton.heads))
    return replace(body, vertices=lens.to_picture(body.vertices), skeleton=skeleton, tails=lens.to_picture(body.tails))


class _Clock:
    """CPU-seconds of stages."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell, self.marks = tell, [("", time.process_time())]

    def __call__(self, stage: str) -> None:
        self.tell(stage)
        self.marks.append((stage, time.process_time()))

    def seconds(self) -> dict[str, float]:
        """How long each stage took, by `seconds: stage`."""
        ends = [*(at for _, at in self.marks[2:]), time.process_time()]
        return {f"seconds: {name}": end - at for (name, at), end in zip(self.marks[1:], ends)}


def whole_joints(maps: Maps) -> np.ndarray:
    """The joints of maps (13, 3), with legs of a bust where a standing person's are."""
    joints = maps.joints.copy()
    if maps.bust:
        for side in ("LEFT", "RIGHT"):
            hip = joints[Joint[f"{side}_HIP"]]
            for name, share in (("KNEE", 0.245), ("ANKLE", 0.48)):
                joints[Joint[f"{side}_{name}"], :2] = hip[0], hip[1] - share * maps.height
    return joints


def _surfaces(maps: Maps, body: BodyMesh, lens: Lens, *, step: int) -> dict[str, Surface]:
    """Core and arms, by the names of `rig.PARTS`."""
    core = core_surface(maps, body, lens, step=step)
    found = {CORE_NAME: core}
    for side in ("left", "right"):
        arm = arm_surface(maps, body, side, core, step=step)
        if arm is not None:
            found[f"{side} arm"] = arm
    return found


def _seen_behind(canvas: Canvas, fronts: Mapping, back: Dressed, shape: Shape, *, bust: bool):
    """The back as a photo from behind shows it."""
    maps = read_maps(back.parts, back.joints, kinds=back.covers, outline=back.outline, height=shape.height, bust=bust)
    other = Canvas(maps, back.picture, tuple(back.covers))
    return from_back_photo(canvas, fronts[CORE_NAME], other, front_sheets(other)[CORE_NAME])


def _rigged(
    cuts: list[tuple[Layer, np.ndarray]], pieces: list[Piece], body: BodyMesh, maps: Maps,
    *, lamp: Light | None, lens: Lens,
) -> tuple[tuple[Layer, ...], Skeleton]:  # fmt: skip
    """Give layers skin weights and light of the surfaces that they were cut from, and stand them on the ground.

    lamp: the photo's; None: both sides are photos, each in its own light.
    """
    hangs = maps.groups["trunk"].any(1)
    hem = float(maps.y[hangs].min()) if hangs.any() else None
    points = [piece.vertices for piece in pieces]
    lit = lambda across: np.ones_like(across) if lamp is None else carried_light(across, lamp)
    whole = [(*surface_weights(one.name, one.vertices, one.faces, body, hem=hem), lit(one.normals), one.normals)
             for one in pieces]  # fmt: skip
    feet = [body.bone(side + name) for side in ("Left", "Right") for name in ("Foot", "ToeBase")]
    layers = []
    for layer, owner in cuts:
        bones, weights, light, across = carried(layer.vertices, owner, points, whole)
        stand = lens.standing(layer.vertices, maps.height)
        if not maps.bust:
            stand = _soled(stand, across, np.where(np.isin(bones, feet), weights, 0).sum(1))
        layers.append(replace(layer, vertices=stand, bones=bones, weights=weights, light=light))
    return tuple(layers), replace(body.skeleton, heads=lens.standing(body.skeleton.heads, maps.height))


def _soled(points: np.ndarray, across: np.ndarray, foot: np.ndarray) -> np.ndarray:
    """Points (n, 3) with soles that lie flat on the ground; across: normals (n, 3); foot (n,): how much is a foot's."""
    down = ((-across[:, 1] - 0.15) / 0.35).clip(0, 1)
    near = ((SOLE - points[:, 1]) / (0.4 * SOLE)).clip(0, 1)
    out = points.copy()
    out[:, 1] *= 1 - down * near * (foot / 0.3).clip(0, 1)
    return out


def _front(cuts: list[tuple[Layer, np.ndarray]], atlas: Atlas, picture: Image.Image) -> dict[str, float]:
    """How the front of layers, as the photo's camera sees them, agrees with the picture: IoU, PSNR in dB, and which
    share of what garments cover there something else hides."""
    maps = atlas.canvas.maps
    vertices = np.concatenate([layer.vertices for layer, _ in cuts])
    starts = np.cumsum([0, *(len(layer.vertices) for layer, _ in cuts)])
    faces = np.concatenate([layer.faces + start for (layer, _), start in zip(cuts, starts)])
    uv = np.concatenate([layer.uv for layer, _ in cuts])
    scale = atlas.canvas.scale
    column, row = (vertices[:, 0] - maps.left) * scale, (maps.top - vertices[:, 1]) * scale
    seen = rasterise(np.stack([column, row, vertices[:, 2]], 1), faces, atlas.canvas.size)
    mask, wanted = seen.face >= 0, atlas.canvas.fine(maps.person)
    texture = np.asarray(atlas.texture, np.float32).transpose(2, 0, 1) / 255
    import torch

    found = look_up(torch.from_numpy(texture), torch.from_numpy(seen.value(uv, faces))).numpy()
    rim = max(1, round(0.005 * scale))
    both = mask & wanted
    psnr = lambda where: float(
        -10 * np.log10(max(1e-9, ((found[where] - atlas.canvas.picture[where] / 255.0) ** 2).mean()))
    )
    inner = erode(both, up=rim, down=rim, side=rim)
    owner = np.repeat([atlas.canvas.kinds.index(layer.kind) + 1 if layer.garment else 0 for layer, _ in cuts],
                      [len(layer.faces) for layer, _ in cuts])  # fmt: skip
    shown = np.where(mask, owner[seen.face], -1)
    covers = [
        (number, atlas.canvas.fine(maps.label == number) & both) for number in range(1, len(atlas.canvas.kinds) + 1)
    ]
    hidden = sum(int((cover & (shown != number)).sum()) for number, cover in covers)
    return {"front iou": float(both.sum() / (mask | wanted).sum()), "front psnr": psnr(both), "inner psnr": psnr(inner),
            "garment hidden": hidden / max(1, sum(int(cover.sum()) for _, cover in covers))}  # fmt: skip


def _soundness(cuts: list[tuple[Layer, np.ndarray]], surfaces: Mapping[str, Surface]) -> dict[str, float]:
    """Faces, litres, and edges that do not belong to two faces, of the layers as they are written."""
    edges = 0
    for layer, _ in cuts:
        faces = welded(layer.vertices, layer.faces)[0][layer.faces]
        thin = (faces[:, 0] == faces[:, 1]) | (faces[:, 1] == faces[:, 2]) | (faces[:, 2] == faces[:, 0])
        edges += open_edges(faces[~thin])
    return {
        "faces": float(sum(len(layer.faces) for layer, _ in cuts)),
        "litres": 1000 * sum(volume_of(surface) for surface in surfaces.values()),
        "open edges": float(edges),
    }
