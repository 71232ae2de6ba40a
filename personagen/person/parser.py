"""Find the body parts of a photographed person: a small network trained here, or SegFormer where its weights are given.

A parser is a function from a photo to a `Body`. Our network (`network`) has 2.8 M parameters and knows standing people.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recsys.errors import ModelError, shown
from recsys.text import from_json

from ..devices import CPU, Compute, half_is_fast
from ..embedded import EMBEDDED
from ..images import Placement, fit, to_tensor
from ..quiet import quiet
from .body import Body
from .colour_prior import by_own_colours
from .guided_filter import guided_upsample
from .joints import places
from .network import ParserSizes, PersonParser
from .parts import Part, with_prints

FINEST, COARSE = 400, 160
"""Longest side in pixels at which edges of parts are drawn, beyond it they are enlarged; and at which they are fitted
to the photo's own edges (`guided_upsample`)."""
SCALES = (1.0, 1.2)
"""At which photos are read, of the network's own size, the largest last: what is missed at one is seen at another."""
DOUBT = 0.3
"""Probability above which a pixel might show a part."""
FAINT = 0.02
"""Probability above which head, skin or shoes cannot be ruled out beside what was found."""


Parser = Callable[[Image.Image], Body]
"""From a photo to its body parts."""


@torch.no_grad()
def parse(model: PersonParser, photo: Image.Image) -> Body:
    """Find the body parts, and the joints where the network does, of one photo of any size."""
    shares, joints = shares_of(model, photo)
    return replace(parsed_at(shares, photo), joints=joints)


def shares_of(model: PersonParser, photo: Image.Image) -> tuple[Tensor, np.ndarray | None]:
    """Read a photo and its mirror image at each of `SCALES`: the mean probabilities of `Part` all over it,
    (1, parts, h, w), as large as it is read at most; and joints (13, 3) in its own pixels, by the first scale.

    Both are on the CPU, wherever the network is.
    """
    shares, joints, cells = [], None, 2 ** (len(model.levels) - 1)
    for scale in SCALES:
        height, width = (round(scale * side / cells) * cells for side in (model.sizes.height, model.sizes.width))
        fitted, where = fit(photo.convert("RGB"), size=(height, width), fill="edge")
        logits, heat = model.both_ways((to_tensor(fitted) * 2 - 1).to(next(model.parameters())))
        shares.append(_unpadded(logits.float().softmax(1), where).cpu())
        if heat is not None and joints is None:
            joints = _in_pixels(places(heat)[0].cpu().numpy(), where, (fitted.width, fitted.height))
    large = shares[-1].shape[2:]
    same = [F.interpolate(one, size=large, mode="bilinear", align_corners=False) for one in shares[:-1]]
    return torch.stack([*same, shares[-1]]).mean(0), joints


def _in_pixels(found: np.ndarray, where: Placement, size: tuple[int, int]) -> np.ndarray:
    """Joints (13, 3) on a photo's own pixels, from shares of a canvas of `size` (width, height)."""
    height, width = where.original
    joints = found.copy()
    joints[:, 0] = (found[:, 0] * size[0] - where.left) * width / where.width
    joints[:, 1] = (found[:, 1] * size[1] - where.top) * height / where.height
    return joints


def _unpadded(x: Tensor, where: Placement) -> Tensor:
    """What a photo covers of a canvas (1, C, H, W)."""
    return x[:, :, where.top : where.top + where.height, where.left : where.left + where.width]


def parsed_at(shares: Tensor, photo: Image.Image) -> Body:
    """Decide for each pixel of a photo; shares (1, parts, h, w): probabilities of `Part` all over it, at any size.

    Parts have the photo's own colours (`by_own_colours`) and end where it has edges. What might be there is told with
    and without its edges, since what is small, such as a hand, can be lost in them.
    """
    height, width = photo.height, photo.width
    fine, coarse = _within((height, width), FINEST), _within((height, width), COARSE)
    guide = to_tensor(photo.convert("RGB").resize((fine[1], fine[0]), Image.Resampling.BOX)).to(shares)
    small = F.interpolate(guide, size=coarse, mode="area")
    low = by_own_colours(F.interpolate(shares, size=coarse, mode="bilinear", align_corners=False), small)
    drawn, never = guided_upsample(low, guide)[0], [Part.HEAD, Part.SKIN, Part.SHOES]
    blunt = F.interpolate(low[:, never], size=fine, mode="bilinear", align_corners=False)[0]
    possible = torch.maximum(drawn[never], blunt)
    cannot = torch.maximum(possible / DOUBT, blunt / FAINT).amax(0)
    size = (height, width)
    might = torch.stack([_enlarged(plane, size) > DOUBT for plane in possible])
    found, faint = _likeliest(drawn, size), _enlarged(cannot, size) > 1
    return Body(with_prints(found.cpu().numpy()), might=might.cpu().numpy(), faint=faint.cpu().numpy())


def _enlarged(share: Tensor, size: tuple[int, int]) -> Tensor:
    """A plane of shares (h, w) at a photo's size (H, W)."""
    return F.interpolate(share[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]


def _likeliest(shares: Tensor, size: tuple[int, int]) -> Tensor:
    """The likeliest part of each pixel of a photo of `size` (H, W), uint8, by shares (parts, h, w); plane by plane,
    for photos are large."""
    found = torch.zeros(size, dtype=torch.uint8, device=shares.device)
    most = torch.zeros(size, device=shares.device)
    for part in shares.max(0).indices.flatten().bincount().nonzero().flatten().tolist():
        share = _enlarged(shares[part], size)
        found[share > most] = part
        most = torch.maximum(most, share)
    return found


def _within(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Height and width of a picture of `size` after it is made small enough, never larger."""
    shrink = min(1.0, longest / max(size))
    return max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))


def save_parser(model: PersonParser, folder: str | Path) -> Path:
    """Write config.json and model.safetensors (float16) into `folder`; return it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(model.sizes), indent=1) + "\n")
    weights = {name: value.detach().cpu().half().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)
    return folder


def load_parser(source: str | Path = "embedded", *, compute: Compute = CPU) -> Parser:
    """Load a parser: the embedded one, a folder of `save_parser`, or a SegFormer folder in transformers' layout.

    compute: on which device and in which precision; the network runs there, pixels are decided on the CPU.

    Raises:
        ModelError: the message names what is missing or does not fit.
    """
    folder = EMBEDDED["parser"] if source == "embedded" else Path(source)
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise ModelError(
            f"there is no parser in {folder}; train it (personagen pretrain configs/pretrain/parser.yaml), give the "
            "folder of a SegFormer for clothes, or give a mask"
        )
    try:
        config = from_json((folder / "config.json").read_text(encoding="utf-8"))
        if "widths" not in config:
            return _segformer(folder, compute)
        return partial(parse, load_model(folder).to(compute.device, _precision(compute)))
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"the parser in {folder} cannot be loaded ({type(error).__name__}: {shown(error, most=300)}); copy it again"
        ) from error


def _precision(compute: Compute) -> torch.dtype:
    """The precision asked for; by itself a CPU that is fast in bfloat16 takes it."""
    cpu = compute.dtype == "auto" and compute.device == "cpu"
    return torch.bfloat16 if cpu and half_is_fast() else compute.torch_dtype


def load_model(folder: str | Path = EMBEDDED["parser"]) -> PersonParser:
    """Load our own network from a folder of `save_parser`. Raises what reading a damaged folder raises."""
    config = from_json((Path(folder) / "config.json").read_text(encoding="utf-8"))
    sizes: dict[str, Any] = {**config, "widths": tuple(config["widths"])}
    model = PersonParser(ParserSizes(**sizes))
    weights = load_file(Path(folder) / "model.safetensors")
    model.load_state_dict({name: value.float() for name, value in weights.items()})
    layout: Any = {"memory_format": torch.channels_last}  # a fifth faster on a CPU
    return model.eval().to(**layout)


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


def _segformer(folder: Path, compute: Compute, *, size: tuple[int, int] = (512, 512)) -> Parser:
    """Parse with a SegFormer whose labels are the eighteen of ATR, such as mattmdjaga/segformer_b2_clothes; joints are
    those that the embedded network finds."""
    from transformers import SegformerForSemanticSegmentation

    with quiet():
        model, found = cast(Any, SegformerForSemanticSegmentation).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    if missing := sorted(found["missing_keys"]):
        raise ValueError(f"model.safetensors lacks {missing[0]}; copy it again")
    model.eval().to(compute.device, compute.torch_dtype)
    names = [str(model.config.id2label[i]).lower() for i in range(model.config.num_labels)]
    if not set(names) & set(PART_OF_ATR):
        raise ValueError(f"its labels {names[:3]} ... are not those of ATR (Hair, Upper-clothes, Pants, ...)")
    finder = load_model().to(compute.device)
    table = torch.tensor([int(PART_OF_ATR.get(name, Part.BACKGROUND)) for name in names])

    @torch.no_grad()
    def parse(photo: Image.Image) -> Body:
        fitted, where = fit(photo.convert("RGB"), size=size, fill="edge")
        x = (to_tensor(fitted) - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        raw = model(x.to(compute.device, compute.torch_dtype)).logits.float().cpu()
        logits = F.interpolate(raw, size=size, mode="bilinear", align_corners=False)
        shares = torch.zeros(1, len(Part), *size).index_add_(1, table, logits.softmax(1))
        return replace(parsed_at(_unpadded(shares, where), photo), joints=shares_of(finder, photo)[1])

    return parse
