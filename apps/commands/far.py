"""What a ranking reads from an object store is brought near first, and what it writes there is sent at its end."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from recsys.errors import DataError
from recsys.ranks import check_format

from ..batch.places import is_address, place_of
from ..progress import note
from .config import RankConfig

Send = Callable[[Path], None]


@contextmanager
def brought_near(settings: RankConfig) -> Iterator[tuple[RankConfig, Send]]:
    """Give settings whose files lie on this machine, and what is to be done with a file that is ready.

    Data and users are copied to a temporary folder. A run whose `out` is an address keeps what it has done in a folder
    .personagen-... here, so that it goes on where it was; the folder goes when the file was sent.

    Raises:
        ConfigError: an address cannot be opened, or has no ending that can be written.
        DataError: a file is not there.
    """
    with tempfile.TemporaryDirectory(prefix="personagen-") as work:
        if is_address(settings.data):
            settings = replace(settings, data=str(_fetched(settings.data, Path(work) / "data")))
        users = settings.users.removeprefix("@") if isinstance(settings.users, str) else ""
        if is_address(users):
            settings = replace(settings, users=f"@{_fetched(users, Path(work) / 'users')}")
        if settings.out is None or not is_address(settings.out):
            yield settings, lambda path: None
            return
        place, name = place_of(settings.out)
        check_format(Path(name))
        place.names("")  # says now whether the store answers
        folder = Path(f".personagen-{hashlib.sha256(settings.out.encode()).hexdigest()[:12]}")
        yield replace(settings, out=str(folder / name)), lambda path: place.send(path.name, path)
        shutil.rmtree(folder, ignore_errors=True)


def _fetched(where: str, folder: Path) -> Path:
    """Copy a file, or the files of a folder, from an address; return the path here."""
    place, name = place_of(where)
    inside = place.names(name)
    if not inside and name not in place.names(""):
        raise DataError(f"there is no {where.partition('?')[0]}; check the address")
    note(f"fetching {where.partition('?')[0]}")
    for one in inside:
        place.fetch(f"{name}/{one}", folder / name / one)
    if not inside:
        place.fetch(name, folder / name)
    return folder / name
