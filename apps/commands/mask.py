"""`personagen tryon mask`: find what to repaint in a photo of a person."""

import sys
from pathlib import Path

from PIL import Image

from personagen.files import check_place, write_whole
from personagen.images import load_image
from personagen.person.parser import load_parser
from personagen.person.parts import region_of
from personagen.person.reading import box_of, read_person
from recsys.errors import ConfigError, check_range

from .config import MaskConfig


def run(settings: MaskConfig) -> int:
    """Write the mask to `settings.out`, whole or not at all. Returns 0.

    Raises:
        ConfigError, DataError: the photo.
        ModelError: the parser.
        ResourceError: what the message names.
    """
    check_range(mask_expand=(settings.mask_expand, 0, 4))
    region_of(settings.kind)
    out, compute = png_path(settings.out), settings.compute()
    person = load_image(settings.person)
    parser = load_parser(settings.parser, compute=compute)
    reading = read_person(person, parser, box=box_of(settings.box), name=settings.person)
    if reading.note:
        print(f"note: {settings.person}: {reading.note}", file=sys.stderr)
    mask = reading.body.mask(settings.kind, expand=settings.mask_expand)
    write_whole(out, lambda part: Image.fromarray(mask).convert("L").save(part, format="PNG"))
    print(f"wrote {out}: {mask.mean():.0%} of the photo may be repainted")
    return 0


def png_path(name: str) -> Path:
    """Check where a PNG is to be written.

    Raises:
        ConfigError, ResourceError: what the message names.
    """
    out = check_place(Path(name))
    if out.suffix.lower() != ".png" or out.is_dir():
        raise ConfigError(f"out is {out}; name a file that ends in .png")
    return out
