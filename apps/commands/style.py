"""`personagen style`: the main job on the command line."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from personagen.files import check_place
from personagen.styling.config import StyleConfig as Finer
from personagen.styling.looks import MANIFEST, NoLook, check_out_dir
from personagen.styling.studio import Order, Studio
from personagen.vocabulary import counted
from recsys.errors import ConfigError, DataError
from recsys.text import is_file, read_names

from ..progress import bar, note
from ..signals import Patience
from .config import StyleConfig
from .shop import open_studio, place_of, read_subjects, subjects_module, with_subject
from .weights import note_sampler

if TYPE_CHECKING:
    from personagen.styling.subjects import Mapped


@dataclass(frozen=True)
class Task:
    """One user's order, and the folder it is written to."""

    order: Order
    out: Path


def run(settings: StyleConfig) -> int:
    """Make the looks of one user in `settings.out`, or of several in a folder each below it; returns 0.

    Raises:
        ConfigError, DataError, ModelError, ResourceError: what the message names.
        Stopped: after a signal, with what is finished kept.
    """
    if settings.engine is not None:
        from ..batch import style as batch

        return batch.run(settings)
    _check_flags(settings)
    note_sampler(settings.scheduler, *_steps(settings))
    studio = open_studio(settings, settings.compute())
    tasks = _tasks(settings, studio)
    done = 0
    with Patience() as patience:
        for task in tasks:
            done += _make(studio, task, patience)
            if patience.asked:
                break
    patience.end(f"{counted(done, 'finished picture')} in {settings.out}" if done else "no picture was finished")
    if not _several(settings):
        print(f"wrote {counted(done, 'picture')}, looks.json and sheet.png to {settings.out}/")
    else:
        print(f"wrote {counted(done, 'picture')} of {counted(len(tasks), 'user')}, a folder each, to {settings.out}/")
    return 0


def _make(studio: Studio, task: Task, patience: Patience) -> int:
    """Make the pictures of one user, with a bar; return how many there are."""
    done, order = 0, task.order
    looks = studio.make(order, task.out, stop=lambda: patience.asked)
    try:
        for one in bar(looks, total=order.looks + order.scenes, label=f"user {order.user}", unit="picture"):
            done += 1
            note(f"{one.look.kind}: {one.look.prompt}")
    except NoLook:
        if not patience.asked:
            raise
    return done


def _steps(settings: StyleConfig) -> list[int]:
    """List the steps that the sampler is asked for: of scenes and of try-on."""
    scenes = settings.stylist.scene_steps if settings.steps is None else settings.steps
    return [scenes] * bool(settings.scenes) + [settings.stylist.tryon_steps] * bool(settings.looks)


def _several(settings: StyleConfig) -> bool:
    return settings.users is not None or (settings.subjects is not None and settings.user is None)


def _check_flags(settings: StyleConfig) -> None:
    """Refuse flags that say two things.

    Raises:
        ConfigError: the message names both.
    """
    if settings.user is not None and settings.users is not None:
        raise ConfigError("give --user for one user or --users for several, not both")
    if settings.subject and settings.subjects:
        raise ConfigError("give --subject for one user or --subjects FILE for several, not both")
    if _several(settings) and (settings.subject or settings.person):
        alone = "--subject" if settings.subject else "--person"
        raise ConfigError(f"{alone} is for one user; give --subjects FILE with the columns user, subject and person")


def _tasks(settings: StyleConfig, studio: Studio) -> list[Task]:
    """Read all that is asked for, and refuse what cannot be done, before anything is painted."""
    mapping = read_subjects(settings, studio)
    users = _users(settings, studio, list(mapping))
    out = Path(settings.out)
    if _several(settings) and (out.is_file() or (out / MANIFEST).is_file()):
        raise ConfigError(f"{out} is a file or holds the looks of one user; name another folder for several")
    tasks = []
    said: set[str] = set()
    for user in users:
        place = place_of(settings.out, user) if _several(settings) else out
        check_out_dir(check_place(place))
        order = Order(
            history=tuple(studio.history(user)),
            user=user,
            looks=settings.looks,
            scenes=settings.scenes,
            seed=settings.seed,
            style=_style(settings),
            metadata=settings.metadata,
            turn=settings.turn,
        )
        lines = studio.source.notes(user)
        order, line = with_subject(order, studio, _mapped(settings, studio, mapping, user))
        lines += [line] if line else []
        lines += [studio.source.sitter(user).note] if settings.person and order.looks else []
        for text in lines:
            if text and text not in said:
                note(text)
        said |= set(lines)
        tasks.append(Task(order, place))
    return tasks


def _mapped(settings: StyleConfig, studio: Studio, mapping: "dict[str, Mapped]", user: str) -> "Mapped | None":
    """Return a user's subject and photo, if there are any; a subject is checked first."""
    if settings.subject is None:
        return mapping.get(user)
    subjects = subjects_module()
    studio.check_fits(subjects.read_subject(settings.subject))
    return subjects.Mapped(Path(settings.subject))


def _users(settings: StyleConfig, studio: Studio, mapped: list[str]) -> list[str]:
    """List the users to work for: those that are named, else those of the mapping, else the first of the atelier.

    Raises:
        ConfigError, DataError: nobody is named, or somebody twice.
    """
    if not _several(settings):
        if settings.user is None and settings.interactions is not None:
            raise ConfigError("--user is missing; name an id of the user column, or several with --users")
        return [str(settings.user) if settings.user is not None else studio.source.users()[0]]
    users = mapped if settings.users is None else named(settings.users)
    twice = sorted({user for user in users if users.count(user) > 1})
    if twice or not users:
        raise DataError(f"users holds {twice[0]!r} twice; name each once" if twice else "users is empty; name some")
    return users


def named(users: str | list[str | int]) -> list[str]:
    """List users as they are named: a list, names between commas, or a file with one a line."""
    if isinstance(users, list):
        return [str(user) for user in users]
    if users.startswith("@") or is_file(users):
        return read_names(users.removeprefix("@"))
    return [user.strip() for user in users.split(",") if user.strip()]


def _style(settings: StyleConfig) -> Finer:
    return settings.stylist if settings.steps is None else replace(settings.stylist, scene_steps=settings.steps)
