"""Settings of weights of one's own; no heavy import, so that `--help` is quick."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from recsys.errors import ConfigError, ModelError

from ..schedulers import check_sampler

PREDICTIONS = ("epsilon", "v_prediction")
PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


@dataclass(frozen=True, kw_only=True)
class OwnWeights:
    """How a text-to-image model of one's own is read, and what is laid over it."""

    vae: str | None = None
    """Another autoencoder for the text-to-image model: a folder in diffusers' layout or a .safetensors file."""
    embeddings: list[str] = field(default_factory=list)
    """Textual inversions, .safetensors files of diffusers or A1111; the word is the file's name, or the one inside."""
    loras: list[str] = field(default_factory=list)
    """LoRAs of the text-to-image model, .safetensors files of diffusers or kohya, or their folders."""
    lora_weights: list[float] = field(default_factory=list)
    """Strength of each LoRA, 1 where left out."""
    tokenizer: str | None = None
    """For a single file, which holds no words: a folder with CLIP's vocabulary, or one in diffusers' layout of the
    same family; none: that of an installed open_clip."""
    prediction: str | None = None
    """What a single file predicts, where it does not say: epsilon (the noise) or v_prediction; none: epsilon, and a
    Stable Diffusion 2 asks."""
    allow_download: bool = False
    """Fetch a hub id such as owner/model; without it nothing is asked of the network."""
    scheduler: str | None = None
    """Sampler: ddim, dpmpp_2m, euler, euler_a, unipc or lcm; none: the model's own."""


PLAIN = OwnWeights()
"""A model as it is."""


def own_of(settings: Any) -> OwnWeights:
    """Take the settings of weights out of a command's, and check what can be checked before anything is loaded.

    Raises:
        ConfigError: there are more weights than LoRAs, or a name is unknown.
        ModelError: a file is pickled.
    """
    own = OwnWeights(**{field.name: getattr(settings, field.name) for field in fields(OwnWeights)})
    lora_strengths(own)
    check_sampler(own.scheduler)
    if own.prediction not in (None, *PREDICTIONS):
        raise ConfigError(f"prediction is {own.prediction!r}; allowed are {', '.join(PREDICTIONS)}")
    for file in (*own.embeddings, *own.loras, *([own.vae] if own.vae else [])):
        refuse_pickle(file)
    return own


def record_of(own: OwnWeights) -> dict[str, Any]:
    """Say for a picture's record what lay over a model, by the files' names; nothing where nothing did."""
    parts = {
        "vae": Path(own.vae).name if own.vae else None,
        "embeddings": [Path(file).name for file in own.embeddings],
        "loras": dict(zip((Path(file).name for file in own.loras), lora_strengths(own).values())),
    }
    return {name: value for name, value in parts.items() if value}


def lora_strengths(own: OwnWeights) -> dict[str, float]:
    """Name the LoRAs, lora-0, lora-1, ..., and say how strong each is.

    Raises:
        ConfigError: there are more weights than LoRAs.
    """
    if len(own.lora_weights) > len(own.loras):
        raise ConfigError(f"{len(own.lora_weights)} lora_weights for {len(own.loras)} loras; give at most one each")
    weights = [*map(float, own.lora_weights), *[1.0] * (len(own.loras) - len(own.lora_weights))]
    return {f"lora-{i}": weight for i, weight in enumerate(weights)}


def refuse_pickle(file: str | Path) -> None:
    """Refuse files that run code when they are read.

    Raises:
        ModelError: the file is one of them.
    """
    if Path(file).suffix.lower() in PICKLED:
        raise ModelError(f"{file} is a pickled file, which can run code when it is read; give it as .safetensors")
