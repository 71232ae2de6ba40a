"""The run.json of a result folder: how a subject was learnt. Written and read nowhere else."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from recsys.errors import ConfigError, ModelError, shown
from recsys.text import from_json

from ..files import write_text
from .config import SubjectConfig, placeholder
from .data import Picture

FILE = "run.json"
RETIRED = ("report_to",)
"""Settings that older runs name and that decide nothing any more."""
RENAMED = {"single_file_layout": "tokenizer"}


@dataclass(frozen=True)
class SubjectRun:
    """A finished run: its settings, what it ran on and learnt from, and what was measured at the end."""

    config: SubjectConfig
    """Resolved: with all that the preset decided."""
    versions: dict[str, str] = field(default_factory=dict)
    torch_device: str = ""
    pictures: int = 0
    data_sha256: str = ""
    """Of the hashes of all pictures, in order of these."""
    steps: int = 0
    final_loss: float | None = None
    drift: list[tuple[int, float]] = field(default_factory=list)
    """Steps, and how far the answers to other prompts had moved then."""
    metrics: dict[str, float] = field(default_factory=dict)


def data_fingerprint(pictures: Sequence[Picture]) -> str:
    """Hash what was learnt from: the fingerprints of all pictures, sorted."""
    return hashlib.sha256("".join(sorted(picture.sha256 for picture in pictures)).encode()).hexdigest()


def write_run(run: SubjectRun, folder: Path) -> Path:
    """Write run.json, whole or not at all.

    Raises:
        ResourceError: the disk refuses.
    """
    return write_text(folder / FILE, json.dumps(asdict(run), indent=1) + "\n")


def read_run(folder: str | Path) -> SubjectRun | None:
    """Read a result folder's run.json; None for files and folders from elsewhere.

    What an older run did not record is left at its default.

    Raises:
        ModelError: it is damaged, or names what this version does not know.
    """
    file = Path(folder) / FILE
    if not file.is_file():
        return None
    try:
        content = from_json(file.read_text(encoding="utf-8"))
        config = {
            RENAMED.get(name, name): value for name, value in content.pop("config").items() if name not in RETIRED
        }
        _refuse_unknown(content, SubjectRun)
        _refuse_unknown(config, SubjectConfig)
        _check_types(config, SubjectConfig)
        _check_types(content, SubjectRun)
        return SubjectRun(SubjectConfig(**config), **content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{file} is damaged or of another version ({shown(error, most=200)}); train the subject again"
        ) from error


def _refuse_unknown(content: Mapping[str, Any], kind: type) -> None:
    unknown = sorted(set(content) - {known.name for known in fields(kind)})
    if unknown:
        raise ValueError(f"unknown: {shown(', '.join(unknown))}")


def _check_types(content: Mapping[str, Any], kind: type) -> None:
    hints = get_type_hints(kind)
    for name, value in content.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"{name} is {shown(value)!r}, which it cannot be")


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a value of JSON is of an annotated type; what lies inside a list or dict is looked at as well."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inside)
    if origin is Literal:
        return value in inside
    if origin in (list, tuple):
        if not isinstance(value, list):
            return False
        kinds = inside if origin is tuple and Ellipsis not in inside else inside[:1] * len(value)
        return len(kinds) == len(value) and all(map(_fits, value, kinds))
    if origin is dict:
        return isinstance(value, dict) and all(_fits(one, inside[1]) for one in value.values())
    if hint is Any or (hint is float and type(value) is int):
        return True
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def phrase(subject: str | Path) -> str:
    """Return how a prompt names a subject that `personagen subject train` learnt, such as "a sks dog".

    Raises:
        ConfigError: the subject is of another kind.
    """
    run = read_run(subject)
    if run is None:
        raise ConfigError(f"{subject} has no run.json; name the result folder of `personagen subject train`")
    return f"a {placeholder(run.config)} {run.config.name}"
