"""`personagen forget`: what was made of one user is listed and removed; what lies elsewhere is named."""

import csv
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from personagen.files import write_text
from personagen.vocabulary import counted
from recsys.errors import ConfigError, DataError
from recsys.text import read_cells, read_text

from .config import ForgetConfig

MANIFEST, RUN = "looks.json", "run.json"


@dataclass(frozen=True)
class Trace:
    """Something of a user: where it lies, what it is, and whether it is removed or only named."""

    place: str
    what: str
    ours: bool


def run(settings: ForgetConfig) -> int:
    """List what there is of a user; with `confirm`, remove what personagen made. Returns 0.

    Raises:
        ConfigError, DataError: what the message names.
    """
    user = str(settings.user)
    if not user.strip():
        raise ConfigError("user is empty; say whom to forget, as in personagen forget anna")
    found = [*_looks(settings, user), *_subject(settings, user), *_rows(settings, user)]
    ours = [trace for trace in found if trace.ours]
    for trace in ours:
        if settings.confirm:
            _remove(trace, settings, user)
        print(f"{'removed' if settings.confirm else 'would remove'}  {trace.place}  ({trace.what})")
    for trace in found:
        if not trace.ours:
            print(f"left  {trace.place}  ({trace.what})")
    if not found:
        print(
            f"there is nothing of user {user!r} in the places named; --looks, --subjects and --interactions name more"
        )
    elif ours and not settings.confirm:
        print("nothing is removed yet; add --confirm true")
    return 0


def _looks(settings: ForgetConfig, user: str) -> list[Trace]:
    """Find folders of looks made for a user, alone or beside those of others."""
    from .shop import folder_name

    found = []
    for place in settings.looks:
        for folder in (Path(place), Path(place) / folder_name(user)):
            if (folder / MANIFEST).is_file() and _whose(folder / MANIFEST) == user:
                files = sum(path.is_file() for path in folder.rglob("*"))
                found.append(_folder(folder, f"looks, {counted(files, 'file')}"))
    return found


def _folder(place: Path, what: str) -> Trace:
    """Name a folder to remove; one that a link leads to may be somebody else's, and is left."""
    if not place.is_symlink():
        return Trace(str(place), what, True)
    return Trace(str(place), f"{what}: a link to {place.resolve()}, remove both by hand", False)


def _whose(manifest: Path) -> str:
    """Return whom looks were made for; empty where the file does not say."""
    try:
        run = json.loads(read_text(manifest)).get("run", {})
    except (ValueError, AttributeError):
        return ""
    return str(run.get("user", "")) if isinstance(run, dict) else ""


def _subject(settings: ForgetConfig, user: str) -> list[Trace]:
    """Find the user's line of the mapping, the subject and the photo that it names."""
    if settings.subjects is None:
        return []
    from personagen.styling.subjects import read_mapping
    from personagen.subject.record import read_run

    mapped, found = read_mapping(settings.subjects).get(user), []
    if mapped is None:
        return []
    if mapped.subject is not None:
        if not (mapped.subject / RUN).is_file():
            raise DataError(
                f"{mapped.subject} is no result of subject training (no {RUN}); correct {settings.subjects}"
            )
        found.append(_folder(mapped.subject, "a subject that was taught, with its checkpoints"))
        run = read_run(mapped.subject)
        if run is not None:
            found.append(
                Trace(run.config.instance_data_dir, "pictures it learnt from: yours, remove them by hand", False)
            )
    if mapped.person is not None:
        found.append(Trace(str(mapped.person), "a photo: yours, remove it by hand", False))
    return [*found, Trace(settings.subjects, "the line of the mapping", True)]


def _rows(settings: ForgetConfig, user: str) -> list[Trace]:
    """Count the user's rows of the interactions; recommenders learnt from them."""
    if settings.interactions is None:
        return []
    from recsys.data.interactions import collect
    from recsys.data.tables import open_table

    users = collect(open_table(settings.interactions, settings.columns, None))
    if user not in users.user_names:
        return []
    count = len(users.history(user))
    what = f"{counted(count, 'choice')}: take the rows out, then train recommenders on this file anew"
    return [Trace(settings.interactions, what, False)]


def _remove(trace: Trace, settings: ForgetConfig, user: str) -> None:
    """Remove a folder, or the user's line of the mapping."""
    place = Path(trace.place)
    if place.is_dir():
        shutil.rmtree(place)
    elif trace.place == settings.subjects:
        columns, rows = read_cells(place)
        kept = [row for _, row in rows if row["user"] != user]
        lines = [columns, *([row.get(name, "") for name in columns] for row in kept)]
        write_text(place, "".join(_line(cells) for cells in lines))


def _line(cells: list[str]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(cells)
    return stream.getvalue()
