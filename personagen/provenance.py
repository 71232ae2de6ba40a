"""Write how a picture was made into its PNG, and read it back.

Two text chunks: `parameters`, exactly as AUTOMATIC1111's web UI writes it, so that the usual viewers show it, and
`personagen`, JSON with everything else (schema, item, scores, configuration, versions). Values that hold a comma, a
colon or a newline are JSON-quoted. A prompt with a line that starts with "Negative prompt:" cannot be told apart in the
first chunk (a limit of that format); the JSON chunk then still holds it exactly.
"""

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from recsys.errors import DataError, shown

from .files import write_whole

SCHEMA = "personagen/1"
PARAMETERS, RECORD = "parameters", "personagen"
PIXELS = ("personagen", "torch", "diffusers", "transformers", "pillow", "numpy")
_NEGATIVE = "Negative prompt: "
_PAIR = re.compile(r'\s*([\w][\w \-/]*):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')


@dataclass(frozen=True)
class Parameters:
    """What an A1111 `parameters` chunk says: the prompt, the negative prompt, and ordered settings as text."""

    prompt: str
    negative_prompt: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


def sampling_settings(
    *,
    steps: int,
    seed: int,
    sampler: str = "",
    guidance: float | None = None,
    size: tuple[int, int] | None = None,
    model: str = "",
) -> dict[str, str]:
    """Return how a picture was sampled under A1111's names, in its order; what is not given is left out.

    size: (H, W) in pixels. model: its name or folder, of which the last part is written.
    """
    found = {
        "Steps": str(steps),
        "Sampler": sampler,
        "CFG scale": "" if guidance is None else f"{guidance:g}",
        "Seed": str(seed),
        "Size": "" if size is None else f"{size[1]}x{size[0]}",
        "Model": Path(model).name,
    }
    return {name: value for name, value in found.items() if value}


@dataclass(frozen=True)
class Provenance:
    """The two chunks of one PNG; None where the picture carries none."""

    parameters: Parameters | None
    record: dict[str, Any] | None


def quote(value: object) -> str:
    """Return `value` as text, JSON-quoted when it holds `,`, `:`, a newline or an opening quote."""
    text = str(value)
    needs = any(mark in text for mark in ",:\n") or text.startswith('"') or text != text.strip()
    return json.dumps(text, ensure_ascii=False) if needs else text


def unquote(text: str) -> str:
    """Undo `quote`; text that is not valid JSON is returned as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    try:
        return str(json.loads(text))
    except json.JSONDecodeError:
        return text


def format_parameters(parameters: Parameters) -> str:
    """Return the A1111 text: prompt, an optional negative line, and one line `Steps: 20, Sampler: DDIM, …`."""
    lines = [parameters.prompt]
    if parameters.negative_prompt:
        lines.append(_NEGATIVE + parameters.negative_prompt)
    if parameters.settings:
        lines.append(", ".join(f"{name}: {quote(value)}" for name, value in parameters.settings.items()))
    return "\n".join(lines)


def parse_parameters(text: str) -> Parameters:
    """Read an A1111 `parameters` text; the last line counts as settings when it is nothing but `Name: value` pairs."""
    *body, last = text.strip("\n").split("\n")
    settings = _parse_settings(last)
    if not settings:
        body, settings = [*body, last], {}
    at = next((i for i, line in enumerate(body) if line.startswith(_NEGATIVE.rstrip())), len(body))
    negative = "\n".join(body[at:])[len(_NEGATIVE.rstrip()) :].strip()
    return Parameters("\n".join(body[:at]), negative, settings)


def _parse_settings(line: str) -> dict[str, str]:
    found, end = {}, 0
    while end < len(line):
        match = _PAIR.match(line, end)
        if match is None:
            return {}
        found[match[1]], end = unquote(match[2].strip()), match.end()
    return found if "Steps" in found or len(found) >= 3 else {}


def versions(names: Sequence[str] = PIXELS) -> dict[str, str]:
    """Return the versions of the packages that are installed, by default those that decide a picture's pixels.

    The name "python" stands for the interpreter.
    """
    found = {}
    for name in names:
        try:
            found[name] = platform.python_version() if name == "python" else metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Return the commit of the checkout that this package runs from, None outside of one."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    asked = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=root)
    return asked.stdout.strip() or None


def write_png(
    image: Image.Image,
    path: str | os.PathLike[str],
    *,
    parameters: Parameters | None = None,
    record: Mapping[str, Any] | None = None,
) -> Path:
    """Save `image` as PNG with both chunks (None leaves a chunk out), whole or not at all; return the path.

    The file is written beside its place and moved there, so a full disk never leaves half a picture.
    """
    chunks = PngInfo()
    chunks.add(b"sRGB", b"\x00")  # what its colours mean, perceptual intent
    if parameters is not None:
        chunks.add_text(PARAMETERS, format_parameters(parameters))
    if record is not None:
        chunks.add_text(RECORD, json.dumps({"schema": SCHEMA, **record}, ensure_ascii=False, sort_keys=True))
    return write_whole(Path(path), lambda part: image.save(part, format="PNG", pnginfo=chunks))


def read_png(path: str | os.PathLike[str]) -> Provenance:
    """Return what a PNG says about itself.

    Raises:
        DataError: the file is missing, damaged, or its JSON is broken.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()
            text = dict(getattr(image, "text", {}))
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read {path} as a PNG: {error}; give a PNG that personagen or a web UI has written"
        ) from error
    parameters = parse_parameters(text[PARAMETERS]) if PARAMETERS in text else None
    return Provenance(parameters, _parse_record(text[RECORD], path) if RECORD in text else None)


def _parse_record(text: str, path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: the personagen chunk is not JSON ({shown(error, most=200)}); the file was edited by hand"
        ) from error
    if not isinstance(record, dict):
        raise DataError(f"{path}: the personagen chunk is a {type(record).__name__}, not a JSON object")
    return record
