"""The tables of figures that can be turned: true views, painted sides, street photos."""

import json
import re
from typing import Any

from grid import DASH, RESULTS, grid

AIMS = {"iou": {0: "≥ .93", 45: "≥ .88", 90: "≥ .80", 180: "≥ .88"},
        "lab": {0: "≤ 6", 45: "≤ 9", 90: "≤ 12", 180: "≤ 12"}}  # fmt: skip
VIEWS = (0, 45, 90, 135, 180)


def _read(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text())


def _mean(found: dict[str, Any], name: str, digits: int, *, interval: bool = False) -> str:
    """A mean of a file's figures, with its interval where that is asked for."""
    one = found["figures"].get(name)
    if one is None:
        return DASH
    short = lambda value: re.sub(r"^(-?)0\.", r"\1.", f"{value:.{digits}f}")
    low, high = one["interval"]
    return short(one["mean"]) + (f" ({short(low)} – {short(high)})" if interval else "")


def figures() -> str:
    """One row a view and measure: ours, the inflated outline, a flat card."""
    found, rows = _read("figure"), []
    for measure, label, digits in (("iou", "silhouette, IoU", 3), ("lab", "garment's mean Lab colour, difference", 1)):
        for view in VIEWS:
            ours = _mean(found, f"ours {measure} {view}", digits, interval=True)
            others = [_mean(found, f"{name} {measure} {view}", digits) for name in ("inflated", "card")]
            rows.append([f"{label}, {view}°", AIMS[measure].get(view, DASH), ours, *others])
    rows.append(
        ["the right garment of 20 from behind", "≥ .85", _mean(found, "ours of 20", 3, interval=True), DASH, DASH]
    )
    rows.append(["CPU-seconds after the flat picture", "", _mean(found, "seconds", 1), DASH, DASH])
    return grid(["", "aim", f"ours, {found['n']} people", "the outline inflated", "a flat card"], rows)


def painted_sides() -> str:
    """What painting unseen sides changes: PSNR and colour by the truth, and seconds."""
    found, names = _read("figure-refined"), ("ours", "refined", "distilled")
    rows = [[f"PSNR in dB, {view}°", *(_mean(found, f"{name} psnr {view}", 2) for name in names)] for view in VIEWS]
    rows += [
        [f"garment's colour, {view}°", *(_mean(found, f"{name} lab {view}", 1) for name in names)] for view in VIEWS
    ]
    rows.append(
        ["CPU-seconds", *(_mean(found, name, 1) for name in ("seconds", "refined seconds", "distilled seconds"))]
    )
    return grid(["", "as it is", "painted", "distilled"], rows)


def completed_sides() -> str:
    """What the view completer changes: PSNR, SSIM and colour by the truth, the right garment, and seconds."""
    found, rows = _read("figure-completed"), []
    every = lambda name, digits: [_mean(found, f"{system} {name}", digits) for system in ("ours", "completed")]
    for measure, label, digits in (("psnr", "PSNR in dB", 2), ("ssim", "SSIM", 3), ("lab", "garment's colour", 1)):
        rows += [[f"{label}, {view}°", *every(f"{measure} {view}", digits)] for view in VIEWS[1:]]
    rows.append(["the right garment of 20 from behind", *every("of 20", 3)])
    rows.append(["CPU-seconds more", DASH, *every("seconds", 1)[1:]])
    return grid(["", f"as it is, {found['n']} people", "light"], rows)


def shapes_by_normals() -> str:
    """What normal maps change in the shape, when they are the truth and when they know nothing."""
    found, names = _read("figure-shape"), ("as it is", "unseen", "around", "own", "grain", "patches")
    rows = [[f"silhouette, IoU, {view}°", *(_mean(found, f"{name} iou {view}", 3) for name in names)] for view in VIEWS]
    for what, label, digits in (
        ("angle", "normals where the front shows nothing, degrees off", 1),
        ("moved", "moved, root mean square in mm", 1),
        ("explained", "share of the wanted change that the surface follows", 2),
        ("front changed", "share of the front's pixels that change", 4),
        ("open edges", "edges that do not close", 0),
        ("seconds", "CPU-seconds", 1),
    ):
        rows.append([label, *(_mean(found, f"{name} {what}", digits) for name in names)])
    heads = ["as it is", "true, where unseen", "true, all round", "its own", "noise a pixel", "noise in patches"]
    return grid([f"{found['n']} people", *heads], rows)


def street_figures() -> str:
    """One row a figure of street photos, with its aim."""
    found = _read("figure-street")
    rows = [["made; refused", "", f"{found['n'] - found['refused']}; {found['refused']}"]]
    for name, label, aim, digits in (
        ("front iou", "front against the flat picture: IoU", "≥ .95", 3),
        ("front psnr", "the same: PSNR in dB", "≥ 27", 1),
        ("inner psnr", "the same within the outline", DASH, 1),
        ("back lab", "garment's colour behind against in front, Lab", DASH, 1),
        ("garment hidden", "share of what the garment covers in front that something else hides", "0", 3),
        ("open edges", "edges that do not close", "0", 0),
        ("seconds", "CPU-seconds with the flat picture", "≤ 120", 1),
    ):
        rows.append([label, aim, _mean(found, name, digits, interval=True)])
    return grid(["street photos", "aim", "measured"], rows)
