"""`personagen style`: the main job on the command line."""

from dataclasses import replace

from personagen.devices import Compute
from personagen.styling.config import StyleConfig as Finer
from personagen.styling.sources import Folder
from personagen.styling.studio import Order, Studio
from personagen.vocabulary import counted
from recsys.errors import ConfigError

from ..progress import bar, note
from ..signals import Patience
from .config import StyleConfig
from .recommend import drive_on_the_spot


def run(settings: StyleConfig) -> int:
    """Make the looks of one user in `settings.out`; returns 0.

    Raises:
        ConfigError, DataError, ModelError, ResourceError: what the message names.
        Stopped: after a signal, with what is finished kept.
    """
    compute = settings.compute()
    studio = Studio(
        text2image=settings.text2image,
        tryon=settings.tryon,
        source=open_source(settings, compute),
        recommender=settings.recommender,
        subject=settings.subject,
        compute=compute,
        drive=drive_on_the_spot,
    )
    user = choose_user(settings, studio)
    order = Order(
        history=tuple(studio.history(user)),
        user=user,
        looks=settings.looks,
        scenes=settings.scenes,
        seed=settings.seed,
        style=_style(settings),
        metadata=settings.metadata,
    )
    for line in studio.source.notes(user):
        note(line)
    if settings.looks and (text := studio.source.sitter(user).note):
        note(text)
    done = 0
    with Patience() as patience:
        looks = studio.make(order, settings.out, stop=lambda: patience.asked)
        for one in bar(looks, total=order.looks + order.scenes, label=f"user {user}", unit="picture"):
            done += 1
            note(f"{one.look.kind}: {one.look.prompt}")
    patience.end(f"{counted(done, 'finished picture')} in {settings.out}" if done else "no picture was finished")
    print(f"wrote {counted(done, 'picture')}, looks.json and sheet.png to {settings.out}/")
    return 0


def _style(settings: StyleConfig) -> Finer:
    """Return the finer settings; scenes speak of a subject, unless the settings name somebody themselves."""
    style = settings.stylist if settings.steps is None else replace(settings.stylist, scene_steps=settings.steps)
    if settings.subject is None or style.scene_person != Finer.scene_person:
        return style
    from personagen.subject.loaded import phrase

    return replace(style, scene_person=phrase(settings.subject))


def open_source(settings: StyleConfig, compute: Compute) -> Folder | None:
    """Open interactions and catalogue where given; None means the atelier.

    Raises:
        ConfigError: only some are.
    """
    if settings.mask and not settings.person:
        raise ConfigError("--mask needs --person, the photo that it belongs to")
    if not settings.interactions and not settings.catalog:
        if settings.person:
            raise ConfigError(
                "--person needs --interactions and --catalog: the photo's user and items are not the atelier's"
            )
        return None
    if not (settings.interactions and settings.catalog):
        missing = "--catalog FOLDER" if settings.interactions else "--interactions FILE"
        raise ConfigError(f"{missing} is missing; interactions and catalogue belong together")
    if settings.user is None:
        raise ConfigError("--user is missing; name an id of the user column")
    return Folder(settings.interactions, settings.catalog, person=settings.person, mask=settings.mask,
                  region=settings.mask_region, compute=compute, columns=settings.columns,
                  min_rating=settings.min_rating)  # fmt: skip


def choose_user(settings: StyleConfig, studio: Studio) -> str:
    """Return the user asked for, else the first of the atelier."""
    return str(settings.user) if settings.user is not None else studio.source.users()[0]
