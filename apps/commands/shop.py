"""What `style` and the page open alike: users and items of one's own, or the atelier's, and the models."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personagen.devices import Compute
from personagen.models.config import own_of
from personagen.person.reading import box_of
from personagen.quiet import quiet
from personagen.styling.sources import Folder
from personagen.styling.studio import Order, Studio
from recsys.errors import ConfigError

from .config import ShopSettings
from .recommend import drive_on_the_spot

if TYPE_CHECKING:
    from personagen.styling.subjects import Mapped


def open_studio(settings: ShopSettings, compute: Compute) -> Studio:
    """Open the users and items of `settings`; models are loaded when they are needed.

    Raises:
        ConfigError, DataError, ModelError: what the message names.
    """
    if settings.base is not None and settings.tryon != "embedded":
        raise ConfigError("give --tryon or --base.base, not both: each is a model of the try-on looks")
    return Studio(
        text2image=settings.text2image,
        tryon=settings.tryon,
        base=settings.base,
        own=own_of(settings),
        source=open_source(settings, compute),
        recommender=settings.recommender,
        compute=compute,
        drive=drive_on_the_spot,
    )


def open_source(settings: ShopSettings, compute: Compute) -> Folder | None:
    """Open interactions and catalogue where given; None means the atelier.

    Raises:
        ConfigError: only some are.
    """
    if settings.box and not settings.person:
        raise ConfigError("--box needs --person, the photo that it belongs to")
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
    return Folder(settings.interactions, settings.catalog, person=settings.person, mask=settings.mask,
                  region=settings.mask_region, box=box_of(settings.box), compute=compute, columns=settings.columns,
                  min_rating=settings.min_rating)  # fmt: skip


def subjects_module() -> Any:
    """Return `personagen.styling.subjects`, which is heavy, without the notes of the libraries beneath."""
    with quiet():
        from personagen.styling import subjects

    return subjects


def read_subjects(settings: ShopSettings, studio: Studio) -> "dict[str, Mapped]":
    """Read the mapping of users to subjects, and check every line of it: users, result folders, base model, photos.

    Raises:
        ConfigError, DataError, ModelError: what the message names.
    """
    if settings.subjects is None:
        return {}
    if settings.person:
        raise ConfigError("--person is the photo of one user; give photos in the column person of --subjects")
    from personagen.images import load_image

    subjects = subjects_module()
    found = subjects.read_mapping(settings.subjects)
    for user, mapped in found.items():
        studio.history(user)
        if mapped.subject is not None:
            studio.check_fits(subjects.read_subject(mapped.subject))
        if mapped.person is not None:
            load_image(mapped.person)
    return found


def with_subject(order: Order, studio: Studio, mapped: "Mapped | None") -> tuple[Order, str]:
    """Return the order with a user's subject and photo, and a line about the photo, if there is one to say.

    A photo of the mapping or of the source is dressed rather than one of the subject's pictures.
    """
    if mapped is None:
        return order, ""
    if mapped.person is not None:
        order = replace(order, photo=mapped.person)
    if mapped.subject is None:
        return order, ""
    order = replace(order, subject=subjects_module().read_subject(mapped.subject))
    has_photo = order.photo is not None or (isinstance(studio.source, Folder) and studio.source.has_photo)
    if has_photo or not order.looks or order.subject is None:
        return order, ""
    photo, line = studio.standing_picture(order.subject)
    return replace(order, photo=photo), line


def folder_name(user: str) -> str:
    """Turn a user's id into the name of a folder, one for each id: letters, digits, `-`, `_` and `.` stay."""
    from urllib.parse import quote

    name = quote(user, safe="")
    return name.replace(".", "%2E", 1) if name.startswith(".") else name


def place_of(out: str, user: str) -> Path:
    """Where the looks of one of several users go."""
    return Path(out) / folder_name(user)
