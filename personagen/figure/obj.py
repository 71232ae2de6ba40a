"""Write a figure as Wavefront .obj with its material and texture, for what does not read glTF."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ..files import write_folder, write_whole
from .gltf import smooth_normals
from .mesh import Figure


def write_obj(figure: Figure, path: Path) -> Path:
    """Write a figure as .obj with .mtl and .png: into a folder, or into one .zip; return the path.

    Layers are objects of their own names. Neither skeleton nor provenance fits into this format.

    Raises:
        ResourceError: the disk refuses.
    """
    stem = path.stem if path.suffix.lower() in (".zip", ".obj") else path.name
    parts = _obj_parts(figure, stem)
    if path.suffix.lower() == ".zip":
        return write_whole(path, lambda part: _zip(part, parts))
    folder = path.with_suffix("") if path.suffix.lower() == ".obj" else path

    def write(work: Path) -> Path:
        made = work / folder.name
        made.mkdir()
        for name, data in parts.items():
            (made / name).write_bytes(data)
        return made

    return write_folder(folder.parent, write)


def _zip(path: Path, parts: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def _obj_parts(figure: Figure, stem: str) -> dict[str, bytes]:
    stream = io.BytesIO()
    figure.texture.convert("RGB").save(stream, "PNG")
    lines, first = [f"mtllib {stem}.mtl"], 1
    for layer in figure.layers:
        lines += [f"o {layer.name.replace(' ', '_')}", "usemtl figure"]
        lines += [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in layer.vertices]
        lines += [f"vt {u:.6f} {1.0 - v:.6f}" for u, v in layer.uv]
        lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in smooth_normals(layer)]
        lines += ["f " + " ".join(f"{k}/{k}/{k}" for k in face) for face in (layer.faces + first).tolist()]
        first += len(layer.vertices)
    material = f"newmtl figure\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {stem}.png\n"
    return {f"{stem}.obj": ("\n".join(lines) + "\n").encode(), f"{stem}.mtl": material.encode(),
            f"{stem}.png": stream.getvalue()}  # fmt: skip
