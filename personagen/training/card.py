"""Model cards of what is trained on pictures: who made it of what, and how to load it. No path of a machine in it."""

import re
from dataclasses import dataclass
from pathlib import Path

from recsys.card import LICENCE, card, table

from ..files import write_text
from .config import LoopConfig

FILE = "README.md"


@dataclass(frozen=True)
class Kind:
    """A kind of result: what it is, the library and the task that hubs list it under, and the line that loads it."""

    title: str
    library: str
    task: str | None
    load: str
    tags: tuple[str, ...] = ()


WORN = ("virtual-try-on",)
CUSTOM = 'DiffusionPipeline.from_pretrained("FOLDER", custom_pipeline="FOLDER", trust_remote_code=True)'
TEXT = 'CLIPTextModel.from_pretrained("FOLDER/text_encoder")'
KINDS = {
    "vae": Kind("Autoencoder", "diffusers", None, 'AutoencoderKL.from_pretrained("FOLDER")'),
    "text": Kind("Text encoder", "transformers", "feature-extraction", TEXT),
    "embedded": Kind("Text to image", "diffusers", "text-to-image", 'load_text2image("FOLDER")'),
    "tryon": Kind("Virtual try-on", "diffusers", "image-to-image", CUSTOM, WORN),
    "parser": Kind("Parser of body parts", "personagen", "image-segmentation", 'load_parser("FOLDER")'),
    "garment": Kind("Parser of garments", "personagen", "image-segmentation", 'load_model("FOLDER")'),
    "lora": Kind("LoRA of a try-on model", "diffusers", "image-to-image", "--base.lora FOLDER", (*WORN, "lora")),
    "view": Kind("View completer of figures", "personagen", "image-to-image", 'load_completer("FOLDER")', ("lora",)),
    "attention": Kind("Self-attention for try-on", "personagen", "image-to-image", "--base.attention FOLDER", WORN),
}
"""By the name of the folder that a stage writes."""


def with_card(folder: Path, config: LoopConfig, *, base: str | None = None) -> Path:
    """Leave a model card in a folder that is named as in `KINDS`; return the folder. base: the model it began from.

    Raises:
        ResourceError: the disk refuses.
    """
    kind = KINDS[folder.name]
    head = {
        **LICENCE,
        "library_name": kind.library,
        "pipeline_tag": kind.task,
        "base_model": base and public_name(base),
        "tags": [*kind.tags, "personagen"],
    }
    settings = {"steps": config.steps, "batch_size": config.batch_size, "learning_rate": config.learning_rate,
                "seed": config.seed}  # fmt: skip
    began = f" It began from `{public_name(base)}`." if base else ""
    lines = [f"# {kind.title}", "", f"Trained with personagen.{began}", "", "```python", kind.load, "```", "",
             *table("setting", settings)]  # fmt: skip
    write_text(folder / FILE, card(head, lines))
    return folder


def public_name(model: str) -> str:
    """Name a model as a card may: a hub id as it is, of a path the last part, spelled as hubs spell names."""
    if model == "embedded":
        return "personagen-embedded"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not Path(model).exists():
        return model
    return re.sub(r"[^\w.-]+", "-", Path(model).stem if model.endswith(".safetensors") else Path(model).name)
