"""Stage "text": train tokenizer and text encoder against a small image tower, as CLIP was (arXiv 2103.00020, §2.3).

Trained by the denoising error alone, the text encoder of a small model learns the words that colour most of the picture
and ignores the others. The contrast makes every word count: pictures must find their captions among the batch's, and
beside each caption stands a wrong one that differs in one word or has two of its words exchanged (as in NegCLIP,
arXiv 2210.01936, §4).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from recsys.errors import ModelError
from recsys.types import Step

from ..corpora.corpus import Corpus, Source, draw, heldout, open_corpora, pictures
from ..devices import choose_device
from ..files import write_folder
from ..models.build import build_text_encoder, train_tokenizer
from ..quiet import quiet
from ..training.card import with_card
from ..training.loop import autocast
from ..training.preview import write_grid
from ..vocabulary import COLOURS, KINDS, PATTERNS
from .config import PretrainConfig
from .save import at_rest, half_copy, write_tokenizer_files
from .start import run_stage

CAPTIONS = {"image": "caption", "garment": "garment_caption"}
GROUPS = (tuple(KINDS), tuple(COLOURS), tuple(PATTERNS))
"""Words that can stand for one another in a wrong caption."""


def train_text(config: PretrainConfig) -> Iterator[Step]:
    """Train the text encoder; write it and its tokenizer to `output_dir/text`."""
    yield from run_stage(TextStage(config), config)


def confuse(caption: str, *, generator: torch.Generator) -> str:
    """Return a wrong caption: two words of a kind exchanged where there are two different ones, else one replaced.

    A caption without a known word comes back as it is.
    """
    words = caption.split()
    known = [(group, [i for i, word in enumerate(words) if word in group]) for group in GROUPS]
    known = [(group, places) for group, places in known if places]
    if not known:
        return caption
    group, places = known[_below(len(known), generator)]
    first, last = places[0], places[-1]
    if words[first] != words[last] and _below(2, generator):
        words[first], words[last] = words[last], words[first]
    else:
        place = places[_below(len(places), generator)]
        others = [word for word in group if word != words[place]]
        words[place] = others[_below(len(others), generator)]
    return " ".join(words)


def contrast(images: Tensor, texts: Tensor, *, same: Tensor, scale: Tensor) -> Tensor:
    """Return CLIP's symmetric cross-entropy, a scalar.

    images (B, D), texts (B + N, D): unit vectors; row i of both belongs together, the last N texts are wrong ones.
    same (B, B + N): 1 where text j is right for picture i; equal captions share the target. scale: inverse temperature.
    """
    logits = scale * images @ texts.T
    to_text = -(same / same.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    square = same[:, : len(images)]
    back = logits[:, : len(images)].log_softmax(0)
    to_image = -(square / square.sum(0, keepdim=True) * back).sum(0).mean()
    return (to_text + to_image) / 2


class ImageTower(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] to vectors (B, width). Only trains the text encoder, and is not kept."""

    def __init__(self, width: int, channels: tuple[int, ...] = (48, 96, 160, 256)) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, channels[0], 4, stride=4)]
        for narrow, wide in zip(channels, channels[1:]):
            layers += [nn.GroupNorm(8, narrow), nn.SiLU(), nn.Conv2d(narrow, wide, 3, stride=2, padding=1)]
        layers += [nn.GroupNorm(8, channels[-1]), nn.SiLU(), nn.AdaptiveAvgPool2d((6, 4)), nn.Flatten()]
        self.body, self.out = nn.Sequential(*layers), nn.Linear(channels[-1] * 24, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x))


class Temperature(nn.Module):
    """CLIP's learnt inverse temperature, kept at 100 or less."""

    def __init__(self) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(1 / 0.07).log())

    def forward(self) -> Tensor:
        return self.log.clamp(max=float(np.log(100.0))).exp()


class TextStage:
    """Text encoder, image tower, pictures and their captions."""

    def __init__(self, config: PretrainConfig) -> None:
        self.config, self.device = config, choose_device(config.loop.device)
        corpora = open_corpora(config.corpora, size=(config.height, config.width))
        self.tokenizer = _tokenizer(config, corpora)
        torch.manual_seed(config.loop.seed)
        size = config.text
        self.text_encoder = build_text_encoder(self.tokenizer, width=size.width, layers=size.layers, heads=size.heads)
        self.modules: dict[str, nn.Module] = {
            "text_encoder": self.text_encoder.to(self.device),  # pyrefly: ignore[bad-argument-type]
            "image_tower": ImageTower(size.width).to(self.device),
            "temperature": Temperature().to(self.device),
        }
        self.sources: list[Source] = []
        self.captions: list[list[str]] = []
        for corpus, weight in corpora:
            share = size.garment_fraction if "garment" in corpus.arrays else 0.0
            for name, part in (("image", 1 - share), ("garment", share)):
                if part > 0:
                    self.sources.append(Source(corpus.arrays[name], corpus.rows["train"], weight * part))
                    self.captions.append([row.get(CAPTIONS[name], "") for row in corpus.meta])
        self.heldout = [(corpora[i][0].arrays["image"][row], corpora[i][0].meta[row].get("caption", ""))
                        for i, row in heldout(corpora, config.loop.heldout_rows)]  # fmt: skip
        self.rows = sum(len(source.rows) for source in self.sources)

    def loss(self, step: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the contrast of one batch, half of it mirrored, and how often a picture found its caption."""
        drawn = draw(self.sources, self.config.loop.batch_size, generator=generator)
        x = pictures([self.sources[i].array[row] for i, row in drawn])
        mirrored = torch.rand(len(x), generator=generator) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
        captions = [self.captions[i][row] for i, row in drawn]
        return self._contrast(x, captions, generator)

    def _contrast(self, x: Tensor, captions: list[str], generator: torch.Generator) -> dict[str, Tensor]:
        texts = captions + [confuse(caption, generator=generator) for caption in captions]
        same = torch.tensor([[float(text == caption) for text in texts] for caption in captions], device=self.device)
        tokens = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt").input_ids
        words = F.normalize(self.text_encoder(tokens.to(self.device)).pooler_output.float(), dim=-1)
        seen = F.normalize(self.modules["image_tower"](x.to(self.device)).float(), dim=-1)
        with torch.autocast(self.device.type, enabled=False):
            loss = contrast(seen, words, same=same, scale=self.modules["temperature"]())
            best = (seen @ words.T).argmax(1)
        return {"loss": loss, "found": same.gather(1, best[:, None]).mean().detach()}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return the contrast over the held-out pictures, and how often a picture finds its caption among them all."""
        x, captions = pictures([picture for picture, _ in self.heldout]), [caption for _, caption in self.heldout]
        with autocast(self.device, self.config.loop):
            found = self._contrast(x, captions, torch.Generator().manual_seed(0))
        return {name: float(value) for name, value in found.items()}

    def preview(self, path: Path) -> None:
        """Write the first held-out pictures, in the order of their captions."""
        write_grid([pictures([picture for picture, _ in self.heldout[:8]])], path)

    def export(self, folder: Path) -> Path:
        """Save the text encoder in float16 and its tokenizer, in diffusers' layout."""
        with quiet():
            half_copy(self.text_encoder).save_pretrained(folder / "text" / "text_encoder", safe_serialization=True)
        at_rest(self.tokenizer).save_pretrained(folder / "text" / "tokenizer")
        write_tokenizer_files(self.tokenizer, folder / "text" / "tokenizer")
        return with_card(folder / "text", self.config.loop)


def load_text(folder: str | Path) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """Load what `export` wrote, in float32.

    Raises:
        ModelError: it is not there.
    """
    for needed in ("text_encoder/model.safetensors", "tokenizer/tokenizer.json"):
        if not (Path(folder) / needed).is_file():
            raise ModelError(
                f"there is no text encoder in {folder} ({needed} is missing); run the text stage first, "
                "or correct text_dir"
            )
    with quiet():
        encoder = CLIPTextModel.from_pretrained(Path(folder) / "text_encoder", local_files_only=True)
        return encoder.float(), CLIPTokenizer.from_pretrained(Path(folder) / "tokenizer", local_files_only=True)


def _tokenizer(config: PretrainConfig, corpora: list[tuple[Corpus, float]]) -> CLIPTokenizer:
    """Read the run's tokenizer, or train it at the first start: a resumed run must keep its token ids."""
    folder = Path(config.output_dir) / "tokenizer"
    if not (folder / "tokenizer.json").is_file():
        size = config.text
        captions = [
            row[key] for corpus, _ in corpora for row in corpus.meta for key in CAPTIONS.values() if row.get(key)
        ]
        words = train_tokenizer(captions, size=size.tokenizer_size, length=size.tokenizer_length)
        write_folder(folder.parent, lambda place: _saved(words, place / folder.name))
    with quiet():
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _saved(tokenizer: CLIPTokenizer, folder: Path) -> Path:
    tokenizer.save_pretrained(folder)
    return folder


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (1,), generator=generator))
