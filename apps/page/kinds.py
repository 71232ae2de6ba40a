"""What a garment is, on the page: chosen from a list, or found in its photo."""

from collections.abc import Sequence
from typing import Any

from personagen.images import PALEST, load_image
from personagen.person.parser import Parser
from personagen.tryon.dress import Piece, in_order
from personagen.vocabulary import KINDS as VOCABULARY
from personagen.warping.garment_kind import AUTO, FoundKind, kind_of
from recsys.errors import DataError

from .visits import Visit

REGIONS = [
    ("a top", "upper"),
    ("trousers or a skirt", "lower"),
    ("a dress", "dress"),
    ("a coat, open or long", "outer"),
]
FIND = ("find it in the photo", AUTO)
KINDS = [FIND, *REGIONS, *((f"more exactly: {kind}", kind) for kind in VOCABULARY if kind != "dress")]
"""Kinds as the command's --kind takes them."""
UNTIL = "upper"
"""What is repainted as long as there is no garment whose kind could be found."""


MORE = 2
"""Further garments of an outfit."""
GARMENTS = ("garment", *(f"garment-{at}" for at in range(MORE)))
KINDS_OF = ("kind", *(f"kind-{at}" for at in range(MORE)))
"""Names of the fields of an outfit's garments, and of their kinds."""
CALLED = {"upper": "top", "lower": "trousers or skirt", "outer": "coat"}


def called(kind: str) -> str:
    """Name a garment of a kind as a shopper does, as on a button."""
    return CALLED.get(kind, kind).capitalize()


def kinds_list(gr: Any, label: str, elem_id: str, *, value: str = AUTO, min_width: int = 160) -> Any:
    """Draw the list of kinds."""
    return gr.Dropdown(KINDS, value=value, label=label, elem_id=elem_id, min_width=min_width)


def found_kind(visit: Visit, garment: str, parser: Parser) -> FoundKind:
    """Find the kind of a garment that a visitor gave, once.

    Raises:
        DataError: the picture is not theirs, or shows nothing that could be put on.
    """
    photo = visit.own(garment)
    if photo.name not in visit.kinds:
        visit.kinds[photo.name] = kind_of(load_image(photo, palest=PALEST), parser=parser)
    return visit.kinds[photo.name]


def told(found: FoundKind) -> str:
    """Say below the list of kinds what was found, and what to do where it is wrong."""
    text = found.said()
    return f"{text[0].upper()}{text[1:]}. Choose another kind if it is something else."


def read_pieces(visit: Visit, garments: Sequence[Any], parser: Parser) -> tuple[list[Piece], list[str]]:
    """Read (path, kind, path, kind, …); later places may be empty (None). Returns the outfit, and what was found.

    Raises:
        DataError: the first is missing, or a picture cannot be read or is not the visitor's.
        ConfigError: an outfit that cannot be worn.
    """
    if garments[0] is None:
        raise DataError("there is no photo of a garment; give one")
    return worn_pieces(visit, garments, parser)


def worn_pieces(visit: Visit, garments: Sequence[Any], parser: Parser) -> tuple[list[Piece], list[str]]:
    """Read garments as `read_pieces` does; none at all are an empty outfit. A kind that was found once is known."""
    pieces, said = list[Piece](), list[str]()
    for path, kind in zip(garments[::2], garments[1::2], strict=True):
        if path is None:
            continue
        if kind == AUTO:
            found = found_kind(visit, path, parser)
            kind = found.kind
            said.append(found.said())
        pieces.append(Piece(load_image(visit.own(path), palest=PALEST), kind))
    if pieces:
        in_order(pieces)
    return pieces, said
