"""Try-on in three dimensions: a person's photo and garments become a figure that can be turned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from recsys.errors import DataError

from ..devices import CPU, Compute
from ..person.body import Body
from ..person.parts import CLOTHES, Part
from ..person.people import Box, Parser, remembering
from ..person.reading import read_person
from ..tryon.dress import Piece, cut_from_photos, dress_outlined, in_order
from ..tryon.trust import Judge
from .build import Dressed, Shape, build_figure
from .complete import Paints, complete
from .completer import load_completer
from .mesh import Figure
from .refuse import check_back, check_photo

COMPLETER = "embedded"
"""The view completer that is used where none is named."""


@dataclass(frozen=True)
class Figure3DOutput:
    """A figure, the picture that its front is made of, and what the user should know."""

    figure: Figure
    worn: Image.Image
    notes: tuple[str, ...] = ()


class Figure3DPipeline:
    """Dress a person of a photo and make a figure of them: `Figure3DPipeline(load_tryon(), load_parser())`.

    pipe = Figure3DPipeline.from_pretrained()
    figure = pipe(person, garment, "t-shirt").figure
    """

    def __init__(self, tryon: Any, parser: Parser, completer: Paints | None = None) -> None:
        """tryon: a `TryOnPipeline`. parser: finds parts and joints (`load_parser`). completer: paints what the photo
        does not show (`load_completer`); None: it stays as it was guessed."""
        self.tryon, self.parser, self.completer = tryon, parser, completer

    @classmethod
    def from_pretrained(
        cls, model: str = "embedded", *, parser: str = "embedded", completer: str | None = COMPLETER,
        compute: Compute = CPU,
    ) -> "Figure3DPipeline":  # fmt: skip
        """Load the parts by name or folder. Errors as `load_tryon`, `load_parser` and `load_completer`."""
        from ..models import load_tryon
        from ..person.parser import load_parser

        paint = None if completer is None else load_completer(completer, compute=compute)
        return cls(load_tryon(model, compute=compute), load_parser(parser, compute=compute), paint)

    def __call__(
        self,
        person: Image.Image,
        garment: Image.Image | Sequence[Piece],
        kind: str = "upper",
        *,
        back: Image.Image | None = None,
        box: Box | None = None,
        shape: Shape | None = None,
        fine: bool = False,
        num_inference_steps: int = 8,
        guidance_scale: float = 1.5,
        judge: Judge | None = None,
        generator: torch.Generator | None = None,
        callback: Callable[[str], None] = lambda stage: None,
    ) -> Figure3DOutput:
        """Dress the person and build the figure.

        garment: a picture of one, of `kind`, or the pieces of an outfit; none: the person as they are. back: a photo of
        the person from behind, in the same clothes as the picture shows after dressing (without garments, as they are).
        judge: is told how far the dressed picture can be trusted before it is painted, and may raise. callback: hears
        of each stage before it begins; what it raises ends the work.

        Raises:
            ConfigError: the outfit cannot be worn, or a setting is out of range.
            DataError: nobody, several people, or a photo that no figure can be made of.
            ModelError: the try-on fails.
        """
        pieces = [Piece(garment, kind)] if isinstance(garment, Image.Image) else list(garment)
        parser = remembering(self.parser)
        callback("person")
        reading = read_person(person, parser, box=box)
        bust, notes = check_photo(reading.body.parts, reading.body.joints)
        callback("try-on")
        dressed = self._dressed(
            person,
            reading.body,
            pieces,
            parser,
            steps=num_inference_steps,
            guidance=guidance_scale,
            judge=judge,
            generator=generator,
        )
        behind = None if back is None else self._behind(back, dressed, parser)
        figure, note = build_figure(dressed, shape=shape, back=behind, bust=bust, fine=fine, tell=callback), None
        if self.completer is not None and back is None:
            figure, note = complete(figure, self.completer, generator=generator, tell=callback)
        said = (reading.note, *notes, note)
        return Figure3DOutput(figure, dressed.picture, tuple(one for one in said if one))

    def _dressed(
        self,
        person: Image.Image,
        body: Body,
        pieces: Sequence[Piece],
        parser: Parser,
        *,
        steps: int,
        guidance: float,
        judge: Judge | None,
        generator: torch.Generator | None,
    ) -> Dressed:
        """Put the garments on, and read the picture anew."""
        assert body.joints is not None
        if not pieces:
            return Dressed(person, body.parts, body.joints, {})
        outfit, _ = cut_from_photos(in_order(pieces), self.tryon, parser=parser)
        worn = dress_outlined(
            self.tryon, person, body, outfit, num_inference_steps=steps, guidance_scale=guidance, judge=judge,
            generator=generator,
        )  # fmt: skip
        parts = read_again(worn.image, body, parser)
        if (parts != Part.BACKGROUND).sum() < 0.3 * (body.parts != Part.BACKGROUND).sum():
            raise DataError("the person was not found again in the dressed picture; give another photo or garment")
        return Dressed(worn.image, parts, body.joints, worn.covers, worn.outline)

    def _behind(self, back: Image.Image, front: Dressed, parser: Parser) -> Dressed:
        """Read a photo from behind; what garments are is told by the parts that the parser finds."""
        body = parser(back)
        joints = check_back(body.joints, front.joints)
        covers = {kind: np.isin(body.parts, _parts_under(front, cover)) for kind, cover in front.covers.items()}
        return Dressed(back, body.parts, joints, covers)


def read_again(picture: Image.Image, body: Body, parser: Parser) -> np.ndarray:
    """Read the parts (H, W) of a dressed picture, of the person whose body is known."""
    if body.inner is not None:
        part = read_again(picture.crop(body.inner.box), body.inner.body, parser)
        return body.inner.laid(part, body.parts.shape[:2])
    parts = parser(picture).parts
    return parts if body.others is None else np.where(body.others, Part.BACKGROUND, parts).astype(np.uint8)


def _parts_under(front: Dressed, cover: np.ndarray) -> list[int]:
    """What a parser calls a garment where it was laid."""
    values, counts = np.unique(front.parts[cover], return_counts=True)
    return [int(v) for v, n in zip(values, counts) if n > 0.2 * counts.sum() and v in CLOTHES]
