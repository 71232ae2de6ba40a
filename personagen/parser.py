"""Find the body parts of a photographed person: a small network trained here, or SegFormer where its weights are given.

A parser is a function from a photo to `Parsed`; `ParserMasker` makes an `AutoMasker` (`personagen.masks`) of it. The
network is a U-Net with residual blocks, 2.4 M parameters by default, for standing persons.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from recsys.errors import DataError, ModelError

from .images import Placement, dilate, fit, to_tensor
from .masks import Part, agnostic_mask, guarded, layers_from_parts, split_skin

EMBEDDED = Path(__file__).parent / "models" / "parser"
FINEST = 768
"""Longest side in pixels at which edges of parts are drawn; beyond it they are enlarged."""
DOUBT = 0.03
"""Probability above which a pixel might show a part."""
FAINT = 0.003
"""Probability above which head, skin or shoes cannot be ruled out beside what was found."""


@dataclass(frozen=True)
class Parsed:
    """What a parser finds in a photo (H, W): the likeliest part of each pixel, uint8 `Part` values, and, bool
    (3, H, W), where head, skin and shoes are possible; (H, W), where one of these cannot be ruled out."""

    parts: np.ndarray
    might: np.ndarray
    faint: np.ndarray


Parser = Callable[[Image.Image], Parsed]
"""From a photo to its body parts."""


@dataclass(frozen=True)
class ParserSizes:
    """Sizes of the network: widths from half resolution down, the pictures it reads, and blocks at the coarsest."""

    widths: tuple[int, ...] = (16, 32, 64, 112, 160)
    height: int = 256
    width: int = 192
    groups: int = 8
    middle: int = 3


class _Residual(nn.Module):
    """Two 3 x 3 convolutions with group normalisation around a shortcut; stride 2 halves the picture."""

    def __init__(self, inside: int, outside: int, *, groups: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1, self.norm2 = nn.GroupNorm(groups, outside), nn.GroupNorm(groups, outside)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        same = inside == outside and stride == 1
        self.short = nn.Identity() if same else nn.Conv2d(inside, outside, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.second(F.silu(self.norm1(self.first(x)))))
        return F.silu(y + self.short(x))


class PersonParser(nn.Module):
    """Say for every pixel which body part it shows."""

    def __init__(self, sizes: ParserSizes) -> None:
        super().__init__()
        self.sizes, widths, groups = sizes, sizes.widths, sizes.groups
        self.stem = nn.Conv2d(5, widths[0], 5, 2, 2)
        self.down = nn.ModuleList([_Residual(a, b, groups=groups, stride=2) for a, b in zip(widths, widths[1:])])
        self.middle = nn.Sequential(*(_Residual(widths[-1], widths[-1], groups=groups) for _ in range(sizes.middle)))
        self.lateral = nn.ModuleList([nn.Conv2d(b, a, 1) for a, b in zip(widths, widths[1:])])
        self.up = nn.ModuleList([_Residual(a, a, groups=groups) for a in widths[:-1]])
        self.head = nn.Conv2d(widths[0], len(Part), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, 10, H, W) for pictures x (B, 3, H, W) in [-1, 1]; any size divisible by 2^widths."""
        size = x.shape[2:]
        rows = torch.linspace(-1, 1, size[0], device=x.device, dtype=x.dtype)[:, None].expand(size)
        columns = torch.linspace(-1, 1, size[1], device=x.device, dtype=x.dtype).expand(size)
        place = torch.stack([rows, columns]).expand(len(x), -1, -1, -1)
        levels = [self.stem(torch.cat([x, place], 1))]
        for block in self.down:
            levels.append(block(levels[-1]))
        y = self.middle(levels[-1])
        for level, lateral, block in zip(levels[-2::-1], list(self.lateral)[::-1], list(self.up)[::-1]):
            y = block(F.interpolate(lateral(y), size=level.shape[2:], mode="nearest") + level)
        return F.interpolate(self.head(y), size=size, mode="bilinear", align_corners=False)

    @torch.no_grad()
    def both_ways(self, x: Tensor) -> Tensor:
        """Return the mean of the logits of x (B, 3, H, W) and of its mirror image; (B, 10, H, W)."""
        return (self(x) + self(x.flip(3)).flip(3)) / 2

    @torch.no_grad()
    def parse(self, photo: Image.Image) -> Parsed:
        """Find the body parts of one photo of any size."""
        fitted, where = fit(photo.convert("RGB"), size=(self.sizes.height, self.sizes.width), fill="edge")
        like = next(self.parameters())
        logits = self.both_ways(to_tensor(fitted).to(like) * 2 - 1)
        return parsed_at(logits.float().softmax(1), where)


def parsed_at(shares: Tensor, where: Placement) -> Parsed:
    """Decide for each pixel of the photo that `where` tells of; shares (1, parts, H, W): probabilities of `Part`."""
    inner = shares[:, :, where.top : where.top + where.height, where.left : where.left + where.width]
    height, width = where.original
    shrink = min(1.0, FINEST / max(height, width))
    fine = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    drawn = F.interpolate(inner, size=fine, mode="bilinear", align_corners=False)[0]
    never = drawn[[Part.HEAD, Part.SKIN, Part.SHOES]]
    doubts = torch.cat([never > DOUBT, (never > FAINT).any(0, keepdim=True)])
    found = torch.cat([drawn.max(0).indices[None].to(torch.uint8), doubts.to(torch.uint8)]).cpu().numpy()
    enlarge = lambda plane: np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.NEAREST))
    planes = found if fine == (height, width) else np.stack([enlarge(plane) for plane in found])
    return Parsed(planes[0], planes[1:4] > 0, planes[4] > 0)


@dataclass(frozen=True)
class ParserMasker:
    """An `AutoMasker` that parses the photo, then covers what a garment of the kind needs and spares what is in doubt.

    Raises DataError when it finds nothing to repaint.
    """

    parser: Parser
    mask_expand: float = 1.0

    def __call__(self, person: Image.Image, kind: str) -> np.ndarray:
        found = self.parser(person)
        skin = split_skin(found.parts)
        layers = layers_from_parts(found.parts, kind=kind, skin=skin)
        layers = guarded(layers, found.parts, found.might, found.faint, skin=skin)
        mask = agnostic_mask(layers, mask_expand=self.mask_expand)
        if not mask.any():
            raise DataError(
                f"No garment or limb for kind {kind!r} was found in {person.width}x{person.height} pixels; give a "
                "photo of one standing person, or a mask of your own."
            )
        return mask

    def ground(self, person: Image.Image) -> np.ndarray:
        """Mark what is surely neither the person nor worn: bool (H, W), a little away from what may be."""
        step = max(1, round(0.01 * person.height))
        worn = self.parser(person).parts != Part.BACKGROUND
        return ~dilate(worn, up=step, down=step, side=step)


def save_parser(model: PersonParser, folder: str | Path) -> Path:
    """Write config.json and model.safetensors (float16) into `folder`; return it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(model.sizes), indent=1) + "\n")
    weights = {name: value.detach().cpu().half().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)
    return folder


def load_parser(source: str | Path = "embedded") -> Parser:
    """Load a parser: the embedded one, a folder of `save_parser`, or a SegFormer folder in transformers' layout.

    Raises ModelError that names what is missing or does not fit.
    """
    folder = EMBEDDED if source == "embedded" else Path(source)
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise ModelError(
            f"There is no parser in {folder}; train it (personagen pretrain configs/pretrain/parser.yaml), give the "
            "folder of a SegFormer for clothes, or give a mask."
        )
    try:
        config = json.loads((folder / "config.json").read_text())
        if "widths" not in config:
            return _segformer(folder)
        model = PersonParser(ParserSizes(**{**config, "widths": tuple(config["widths"])}))
        model.load_state_dict({name: value.float() for name, value in load_file(folder / "model.safetensors").items()})
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"The parser in {folder} cannot be loaded ({type(error).__name__}: {error}).") from error
    return model.eval().parse


_ATR = {
    Part.HEAD: "hat hair sunglasses",
    Part.SKIN: "face left-leg right-leg left-arm right-arm",
    Part.UPPER: "upper-clothes",
    Part.LOWER: "skirt pants belt",
    Part.DRESS: "dress",
    Part.SHOES: "left-shoe right-shoe",
    Part.CARRIED: "bag scarf",
}
PART_OF_ATR = {name: part for part, names in _ATR.items() for name in names.split()}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, as SegFormer's pictures are normalised."""


def _segformer(folder: Path, *, size: tuple[int, int] = (512, 512)) -> Parser:
    """Parse with a SegFormer whose labels are the eighteen of ATR, such as mattmdjaga/segformer_b2_clothes."""
    from transformers import SegformerForSemanticSegmentation

    model: Any = SegformerForSemanticSegmentation.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
    ).eval()
    names = [str(model.config.id2label[i]).lower() for i in range(model.config.num_labels)]
    if not set(names) & set(PART_OF_ATR):
        raise ValueError(f"its labels {names[:3]} ... are not those of ATR (Hair, Upper-clothes, Pants, ...)")
    table = torch.tensor([int(PART_OF_ATR.get(name, Part.BACKGROUND)) for name in names])

    @torch.no_grad()
    def parse(photo: Image.Image) -> Parsed:
        fitted, where = fit(photo.convert("RGB"), size=size, fill="edge")
        x = (to_tensor(fitted) - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        logits = F.interpolate(model(x).logits, size=size, mode="bilinear", align_corners=False)
        shares = torch.zeros(1, len(Part), *size).index_add_(1, table, logits.softmax(1))
        return parsed_at(shares, where)

    return parse
