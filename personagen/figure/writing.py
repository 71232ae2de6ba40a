"""The files of a figure, as a prompt asks for it: in its pose, on its stage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import write_whole
from .gltf import Clip, write_glb
from .mesh import Figure
from .obj import write_obj
from .poses import placed, pose_named, strides_of, take_pose
from .turntable import Stage, Turntable, contact_sheet, write_maps, write_turntable
from .words import Staging

FRAMES = 24
"""Pictures of one turn."""


@dataclass(frozen=True)
class Asked:
    """What to write beside the .glb: a sheet of eight views, an animation under a name of its own, .obj, maps.

    unlit: viewers show the photo's light, not a lamp of their own. seed: of a painted place.
    """

    sheet: bool = False
    turntable: Path | None = None
    obj: bool = False
    maps: bool = False
    unlit: bool = False
    seed: int = 0


def write_figure(
    figure: Figure, out: Path, staging: Staging, asked: Asked, *, record: Mapping[str, Any],
    before: Callable[[], None] = lambda: None,
) -> list[Path]:  # fmt: skip
    """Write every file that is asked for, each whole or not at all; return their paths, the .glb first, written last.

    out: where the .glb is to be; the others stand beside it. record: how it was made. before: is called before each
    frame of the animation; what it raises ends the work.

    Raises:
        ConfigError: a name with another ending than its kind's.
        ResourceError: the disk refuses.
    """
    pose, files = pose_named(staging.pose), [out]
    stage = Stage(staging.scene, staging.light, staging.view or 0.0, seed=asked.seed)
    table = Turntable(take_pose(figure, pose), stage)
    if asked.sheet:
        sheet = contact_sheet(table)
        files.append(write_whole(out.with_suffix(".png"), lambda part: sheet.save(part, format="PNG")))
    if asked.turntable is not None:
        frames = []
        for frame in table.frames(FRAMES):
            before()
            frames.append(frame)
        files.append(write_turntable(frames, asked.turntable, record=record))
    if asked.obj:
        files.append(write_obj(table.figure, out.with_suffix(".zip")))
    if asked.maps:
        files.append(write_maps(table, out.with_name(f"{out.stem}-maps")))
    clips = [Clip("walk", strides_of(figure))] if staging.pose == "walking" else []
    write_glb(figure, out, record=record, pose=placed(figure, pose), clips=clips, unlit=asked.unlit)
    return files
