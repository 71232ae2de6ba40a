"""The photo's light, carried on round a figure: a texture holds the light of the front, and a back is not lit like it.

The light of a photo is taken to be a lamp before the person, sky and ground. Which side the lamp stands on is read off
the picture: how brightness changes over the normals of each cloth, and of skin. How strong lamp, sky and ground are is
a prior, the mean of the atelier's places. A vertex is then multiplied by what reaches it over what reaches the surface
that its colours were read from (`atlas.Fold`), so that all that the photo shows stays as it is.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..atelier.light import Light
from ..person.parts import Part
from .maps import CELL, Maps
from .mesh import normals
from .nets import Surface
from .raster import rasterise

SOFT = 0.4
"""How far a lamp's light creeps round."""
PRIOR = Light((0.0, 0.72, 0.62), (0.85, 0.79, 0.69), (0.40, 0.44, 0.51), (0.29, 0.26, 0.26))
"""A lamp before the person, above the camera: the mean of the atelier's places."""
ASIDE, MOST_ASIDE = 1.4, 0.7
"""What a change of brightness over a unit of the normal says of the lamp's place, and how far aside that is at most."""
LEAST = 400
"""Cells of one cloth below which its brightness says nothing."""
FOLD = np.radians(70.0)
"""The angle from which a surface reads colours of what faces the camera more (`atlas`)."""
GAIN = (0.15, 1.0)
"""Least and most that colours are multiplied with, linear: files hold no more than 1."""
LIT = tuple(part for part in (Part.SKIN, Part.UPPER, Part.OUTER, Part.LOWER, Part.DRESS))
"""Parts whose brightness tells the light: hair and shoes shine."""


def irradiance(across: np.ndarray, lamp: Light) -> np.ndarray:
    """Light that reaches surfaces of these normals (..., 3): key, sky and ground, linear RGB (..., 3)."""
    key = ((across @ lamp.towards + SOFT) / (1.0 + SOFT)).clip(0.0)[..., None]
    up = (0.5 + 0.5 * across[..., 1])[..., None]
    sky, ground, colour = (np.array(rgb, np.float32) for rgb in (lamp.sky, lamp.bounce, lamp.key))
    return ground + (sky - ground) * up + key * colour


def read_light(maps: Maps, picture: np.ndarray, surfaces: Mapping[str, Surface]) -> Light:
    """Return the light of a photo whose colours at the cells are known, uint8 (h, w, 3)."""
    across = _front_normals(maps, surfaces)
    bright = (picture / 255.0).mean(2) ** 2.2
    total = slope = 0.0
    for number in np.unique(maps.parts[np.isin(maps.parts, LIT)]).tolist():
        mine = (maps.parts == number) & maps.person & (across[..., 2] > 0.2)
        if mine.sum() < LEAST:
            continue
        seen = bright[mine] / max(float(bright[mine].mean()), 1e-3)
        terms = np.stack([np.ones_like(seen), across[mine][:, 0], across[mine][:, 1]], 1)
        found = np.linalg.lstsq(terms, seen.clip(0, 3), rcond=None)[0]
        total, slope = total + mine.sum(), slope + mine.sum() * found[1] / max(found[0], 0.3)
    aside = float(np.clip(ASIDE * slope / max(total, 1), -MOST_ASIDE, MOST_ASIDE))
    return replace(PRIOR, direction=(aside, *PRIOR.direction[1:]))


def _front_normals(maps: Maps, surfaces: Mapping[str, Surface]) -> np.ndarray:
    """Unit normals at the cells (h, w, 3) of what the camera sees; 0 where nothing is."""
    vertices = np.concatenate([one.vertices for one in surfaces.values()])
    starts = np.cumsum([0, *(len(one.vertices) for one in surfaces.values())])
    faces = np.concatenate([one.faces + start for one, start in zip(surfaces.values(), starts)])
    across = np.concatenate([normals(one.vertices, one.faces) for one in surfaces.values()])
    column, row = (vertices[:, 0] - maps.left) / CELL, (maps.top - vertices[:, 1]) / CELL
    seen = rasterise(np.stack([column, row, vertices[:, 2]], 1), faces, maps.person.shape, both=True)
    return seen.value(across, faces)


def carried_light(across: np.ndarray, lamp: Light) -> np.ndarray:
    """What linear colours of vertices of these normals (V, 3) are multiplied with, float32 (V, 3); 1 in front."""
    angle = np.arccos(np.abs(across[:, 2]).clip(0, 1))
    read = np.minimum(angle, 2 * FOLD - angle)
    length = np.linalg.norm(across[:, :2], axis=1).clip(1e-6)
    flat = across[:, :2] / length[:, None] * np.sin(read)[:, None]
    source = np.concatenate([flat, np.cos(read)[:, None]], 1).astype(np.float32)
    gain = irradiance(across, lamp) / irradiance(source, lamp)
    seen = (across[:, 2] >= np.cos(FOLD))[:, None]
    return np.where(seen, 1.0, gain.clip(*GAIN)).astype(np.float32)
