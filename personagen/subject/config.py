"""Settings of subject training; no heavy import, so that `personagen subject train --help` is quick.

Flags carry the names that users of diffusers' training scripts know. A setting that is null takes the preset's value.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from recsys.errors import SEEDS, ConfigError

from ..models.config import OwnWeights, own_of
from ..schedulers import check_sampler
from ..training.config import Precision

PRESETS: dict[str, dict[str, Any]] = {
    "object": {"max_train_steps": 400, "rank": 8, "learning_rate": 1e-4, "train_text_encoder": False},
    "person": {"max_train_steps": 800, "rank": 16, "learning_rate": 1e-4, "train_text_encoder": True},
    "style": {"max_train_steps": 800, "rank": 16, "learning_rate": 1e-4, "train_text_encoder": False},
    "garment": {"max_train_steps": 400, "rank": 8, "learning_rate": 1e-4, "train_text_encoder": False},
}
EMBEDDED: dict[str, Any] = {
    "rank": 32,
    "learning_rate": 3e-3,
    "train_batch_size": 4,
    "train_text_encoder": False,
    "lora_feed_forward": True,
    "lr_scheduler": "cosine",
}
"""What the small embedded model takes in place of a preset's values, which are for Stable Diffusion."""
EMBEDDED_STEPS = {"object": 260, "person": 150, "style": 260, "garment": 150}
"""People and garments need fewer: that model paints nothing else."""
PROMPTS = {
    "object": ("a photo of a {token} {name}", "a photo of a {name}"),
    "person": ("a photo of a {token} {name}", "a photo of a {name}"),
    "style": ("a picture in the style of {token}", "a picture"),
    "garment": ("a product photo of a {token} {name}", "a product photo of a {name}"),
}
USUAL: dict[str, Any] = {"train_batch_size": 1, "lora_feed_forward": False, "lr_scheduler": "constant"}
"""What every preset takes on Stable Diffusion."""
SCENES = ["in a studio", "on a street", "on a beach", "in a park", "in the snow", "in a city at night"]
"""Scenes that the embedded model knows."""
PRIOR = [
    "a person wearing a red t-shirt and black trousers in a studio",
    "a product photo of a yellow sweater",
    "a person wearing a green striped dress in a park",
    "a picture",
    "a person wearing a blue jacket and gray trousers in the snow",
    "a product photo of gray trousers",
    "a person wearing an orange shirt and white shorts on a beach",
    "a person wearing a purple sweater and a brown skirt in a city at night",
    "a landscape",
    "an animal on the grass",
    "a house by the sea",
    "a plate of food",
    "a man and a woman",
    "a car on a road",
    "a portrait of a young woman",
    "a tree",
]
"""What else the embedded model paints, and what it is to answer as before."""
ALIASES = {"network_dim": "rank", "network_alpha": "lora_alpha", "min_snr_gamma": "snr_gamma"}
"""kohya's names of settings, and ours."""


@dataclass(frozen=True)
class SubjectConfig:
    """What to learn, from which pictures, on which model, and how."""

    instance_data_dir: str
    """Folder with 1 to a few dozen pictures of the subject; captions: NAME.txt beside NAME.jpg, or metadata.jsonl."""
    name: str
    """What the subject is, as one would say it in a prompt: dog, backpack, person, jacket."""
    preset: Literal["object", "person", "style", "garment"] = "object"
    """Fills in what is left null: steps, rank, learning rate, text encoder, and the wording of the prompts."""
    output_dir: str = "runs/subject"
    pretrained_model_name_or_path: str = "embedded"
    """`embedded`, a folder in diffusers' layout, a single .safetensors file, or, with allow_download, a hub name."""
    tokenizer: str | None = None
    """Of a single file, which holds no words: a folder with CLIP's vocabulary, or one in diffusers' layout of the same
    family; null: that of an installed open_clip."""
    prediction: str | None = None
    """What a single file predicts, where it does not say: epsilon (the noise) or v_prediction."""
    vae: str | None = None
    """Another autoencoder for the base model: a folder in diffusers' layout or a .safetensors file."""
    embeddings: list[str] = field(default_factory=list)
    """Textual inversions that the base model is to know: .safetensors files of diffusers or A1111."""
    loras: list[str] = field(default_factory=list)
    """LoRAs added into the base model before it learns: .safetensors files of diffusers or kohya, or their folders."""
    lora_weights: list[float] = field(default_factory=list)
    """Strength of each LoRA, 1 where left out."""
    allow_download: bool = False
    """Fetch a hub id; without it nothing is asked of the network."""
    token: str = "sks"
    """The rare word that comes to mean this subject; with new_tokens it is replaced by <s0><s1>..."""
    instance_prompt: str | None = None
    """Prompt of pictures without a caption of their own; null: the preset's words with token and name."""
    class_prompt: str | None = None
    """Prompt of the class pictures; null: the preset's words with name."""
    consent: bool = False
    """With preset person: the person agreed to be learnt, and to have pictures made of them."""

    resolution: int | None = None
    """Side in pixels of a square of as many pixels as the training pictures get; null: the base model's own size."""
    buckets: bool = True
    """Train every picture at the size nearest to its own proportions; false: crop all to one size."""
    repeats: int = 1
    """How often a picture comes in an epoch."""
    random_flip: bool = False
    """Mirror pictures at random. Not for faces with a parting, nor for things with writing."""
    caption_dropout: float = 0.0
    """Share of the rows that are trained with an empty prompt."""

    scenes: list[str] | None = None
    """Phrases such as "on a beach": the subject is cut out of its photos and set into pictures of these scenes, which
    the base model paints. Null: the scenes that the embedded model knows, for preset object on it; else none."""

    cache_dir: str | None = None
    """Folder that keeps latents and embeddings for further runs on the same pictures; null: in memory alone."""

    with_prior_preservation: bool = False
    """Train on pictures of the class as well, so that the class is not overwritten by the subject."""
    class_data_dir: str | None = None
    """Folder of class pictures; null: output_dir/class. What is missing to num_class_images is generated into it."""
    num_class_images: int = 32
    prior_prompts: list[str] | None = None
    """More prompts for class pictures, which take turns with class_prompt: what the model is to go on painting. Null:
    garments, people in scenes and a few other things on the embedded model; else none. Captions lie beside the
    pictures."""
    prior_target: Literal["image", "base"] | None = None
    """What class pictures are compared with: themselves, as DreamBooth does; or what the base model says of them, which
    keeps it closer at the price of one more forward pass (adapters only). Null: base on the embedded model; else image.
    """
    prior_loss_weight: float | None = None
    """Weight of the class beside the subject. Null: 3 with prior_target base on the embedded model, else 1."""

    train_unet: Literal["lora", "full", "none"] = "lora"
    """An adapter; the whole UNet (DreamBooth as first published); or nothing but text encoder or new tokens."""
    train_text_encoder: bool | None = None
    rank: int | None = None
    lora_alpha: float | None = None
    """Strength of the adapter: it is scaled by lora_alpha / rank. Null: as the rank."""
    network_dim: int | None = None
    """kohya's name of rank; give one of the two. Likewise below."""
    network_alpha: float | None = None
    """kohya's name of lora_alpha."""
    min_snr_gamma: float | None = None
    """kohya's name of snr_gamma."""
    lora_dropout: float = 0.0
    lora_feed_forward: bool | None = None
    """Adapt the feed-forward layers besides attention."""
    use_rslora: bool = False
    use_dora: bool = False
    concepts: list[str] = field(default_factory=lambda: ["s"])
    """Names of the new words: <s0>, <s1>. Several name the subjects of one adapter: {dog} in a caption becomes the
    words <dog0><dog1> of the dog alone. Subjects that are to be stacked need names of their own."""
    new_tokens: int = 0
    """New words <s0>, <s1>, ... whose embeddings are learnt (textual inversion; with an adapter: pivotal tuning)."""

    train_batch_size: int | None = None
    """Pictures of the subject put through the model at once; it is halved when memory runs out."""
    gradient_accumulation_steps: int = 1
    gradient_checkpointing: bool = False
    max_train_steps: int | None = None
    learning_rate: float | None = None
    text_encoder_lr: float | None = None
    """Null: as learning_rate."""
    token_lr: float = 1e-3
    lr_scheduler: Literal["constant", "linear", "cosine"] | None = None
    lr_warmup_steps: int = 0
    optimizer: Literal["adamw", "adamw8bit", "prodigy"] = "adamw"
    adam_weight_decay: float = 1e-2
    max_grad_norm: float = 1.0
    identity_weight: float | None = None
    """How many times as much as the rest a person's head, skin and shoes count, as the embedded parser finds them (not
    in class pictures). Null: 16 for preset person on the embedded model, which paints them small; else 1."""
    snr_gamma: float | None = None
    """Weight errors by min(SNR, gamma) as in arXiv 2303.09556; 5 is usual; null: all noise levels alike."""
    noise_offset: float = 0.0
    rescale_betas_zero_snr: bool | None = None
    """Train with zero terminal SNR (v-prediction only); null: as the base model's scheduler says."""
    use_ema: bool = False
    ema_decay: float = 0.99
    mixed_precision: Precision = "auto"
    """Precision of the arithmetic and of what is not trained: auto (bf16 where the device multiplies in it, else no),
    no, fp16 or bf16."""
    device: str = "auto"
    seed: int = 0

    checkpointing_steps: int = 100
    checkpoints_total_limit: int = 2
    resume_from_checkpoint: str | None = None
    """`latest` goes on from the newest sound checkpoint in output_dir; null refuses a folder that holds one."""
    validation_prompt: str | None = None
    """Null: the instance prompt."""
    num_validation_images: int = 4
    validation_steps: int = 0
    """Paint the validation pictures every so many steps; 0: only at the end."""
    validation_inference_steps: int = 20
    guidance_scale: float = 5.0
    scheduler: str | None = None
    """Sampler of the pictures painted on the way: ddim, dpmpp_2m, euler, euler_a, unipc or lcm; null: the model's."""

    def __post_init__(self) -> None:
        check_config(self)


def own_weights(config: SubjectConfig) -> OwnWeights:
    """Say how the base model is read and what lies over it; the sampler is for the pictures alone."""
    return replace(own_of(config), scheduler=None)


def resolve(config: SubjectConfig) -> SubjectConfig:
    """Fill in what the preset decides, and the prompts. What was given stays.

    Raises:
        ConfigError: the subject is a person who has not agreed.
    """
    if config.preset == "person" and not config.consent:
        raise ConfigError("preset person needs consent: true, by which you confirm that the person agreed to this")
    words = {"token": placeholder(config), "name": config.name}
    instance, of_class = (text.format(**words) for text in PROMPTS[config.preset])
    embedded = config.pretrained_model_name_or_path == "embedded"
    values: dict[str, Any] = {
        **USUAL,
        **PRESETS[config.preset],
        **({**EMBEDDED, "max_train_steps": EMBEDDED_STEPS[config.preset]} if embedded else {}),
        "scenes": SCENES if embedded and config.preset == "object" else [],
        "prior_prompts": PRIOR if embedded else [],
        "identity_weight": 16.0 if embedded and config.preset == "person" else 1.0,
        "prior_target": "base" if embedded and config.train_unet == "lora" else "image",
        "instance_prompt": instance,
        "class_prompt": of_class,
        "class_data_dir": f"{config.output_dir}/class",
    }
    config = _in_our_names(config)
    full = replace(config, **{key: value for key, value in values.items() if getattr(config, key) is None})
    derived: dict[str, Any] = {
        "prior_loss_weight": 3.0 if embedded and full.prior_target == "base" else 1.0,
        "lora_alpha": full.rank,
        "text_encoder_lr": full.learning_rate,
        "validation_prompt": full.instance_prompt,
    }
    return replace(full, **{key: value for key, value in derived.items() if getattr(full, key) is None})


def beyond_the_base(config: SubjectConfig) -> str | None:
    """Say what the base model cannot paint, where that is known before training: things, on the embedded one."""
    if config.pretrained_model_name_or_path != "embedded" or config.preset != "object":
        return None
    return (
        f"the embedded model knows people and clothes alone: of a {config.name} it takes the colours, not the shape. "
        "For a thing give Stable Diffusion weights (--pretrained_model_name_or_path FOLDER); for clothes add "
        "--preset garment, for a person --preset person"
    )


def _in_our_names(config: SubjectConfig) -> SubjectConfig:
    """Move what was given under kohya's names to ours."""
    given: dict[str, Any] = {name: value for name in ALIASES if (value := getattr(config, name)) is not None}
    unset: dict[str, Any] = dict.fromkeys(given)
    return replace(config, **{ALIASES[name]: value for name, value in given.items()}, **unset)


def placeholder(config: SubjectConfig) -> str:
    """Return what stands for the subject in a prompt: the rare word, or the new ones in a row."""
    return "".join(token_names(config)) or config.token


def token_names(config: SubjectConfig) -> list[str]:
    """Name the new tokens: <s0>, <s1>, ..., those of each concept in a row."""
    return new_words(config.concepts, config.new_tokens)


def new_words(concepts: Sequence[str], count: int) -> list[str]:
    """Name `count` new tokens for each concept."""
    return [f"<{concept}{i}>" for concept in concepts for i in range(count)]


def rows_a_step(config: SubjectConfig) -> int:
    """Count the pictures of the subject that one update of a resolved configuration sees."""
    return int(config.train_batch_size or 1) * config.gradient_accumulation_steps


def check_config(config: SubjectConfig) -> None:
    """Raise ConfigError, naming value and range, where a setting cannot work."""
    if config.preset not in PRESETS:
        raise ConfigError(f"preset {config.preset!r} is unknown; use one of {', '.join(PRESETS)}")
    _check_ranges(config)
    _check_combinations(config)
    check_sampler(config.scheduler, config.validation_inference_steps)
    own_of(config)


def _check_ranges(config: SubjectConfig) -> None:
    at_least_1 = ("repeats", "num_class_images", "train_batch_size", "gradient_accumulation_steps", "max_train_steps",
                  "rank", "checkpointing_steps", "validation_inference_steps")  # fmt: skip
    limits: dict[str, tuple[float, float]] = dict.fromkeys(at_least_1, (1, 1000000))
    limits |= dict.fromkeys(("caption_dropout", "ema_decay"), (0, 1))
    limits |= dict.fromkeys(("prior_loss_weight", "adam_weight_decay", "noise_offset", "guidance_scale"), (0, 1e6))
    limits |= {
        "resolution": (8, 4096),
        "lora_dropout": (0, 0.99),
        "identity_weight": (1, 1000),
        "learning_rate": (0, 10),
        "text_encoder_lr": (0, 10),
        "token_lr": (0, 10),
        "new_tokens": (0, 16),
        "max_grad_norm": (1e-6, 1e6),
        "snr_gamma": (1e-6, 1e6),
        "lora_alpha": (1e-6, 1e6),
        "network_dim": (1, 1024),
        "network_alpha": (1e-6, 1e6),
        "min_snr_gamma": (1e-6, 1e6),
        "lr_warmup_steps": (0, 1_000_000),
        "checkpoints_total_limit": (2, 1000),
        "num_validation_images": (0, 64),
        "validation_steps": (0, 1_000_000),
        "seed": SEEDS,
    }
    for name, (low, high) in limits.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            raise ConfigError(f"{name} is {value}; allowed are {low:g} to {high:g}")


def _check_combinations(config: SubjectConfig) -> None:
    sound = all(re.fullmatch(r"[a-z][a-z_]{0,30}", concept) for concept in config.concepts)
    if (
        not sound
        or not config.concepts
        or len(set(config.concepts)) < len(config.concepts)
        or "token" in config.concepts
    ):
        raise ConfigError(f"concepts are {config.concepts}; give different names of small letters and _, not token")
    for theirs, ours in ALIASES.items():
        if getattr(config, theirs) is not None and getattr(config, ours) is not None:
            raise ConfigError(f"{theirs} and {ours} are one setting, both were given; leave one out")
    if not config.name.strip():
        raise ConfigError("name is empty; say what the subject is, such as dog, backpack or person")
    if config.train_unet == "none" and not config.train_text_encoder and not config.new_tokens:
        raise ConfigError("nothing would be trained; set train_unet to lora or full, train_text_encoder or new_tokens")
    if config.train_unet == "full" and config.train_text_encoder:
        raise ConfigError("train_unet full cannot be combined with train_text_encoder; use train_unet lora")
    if config.prior_target == "base" and config.train_unet != "lora":
        raise ConfigError(
            f"prior_target base needs an adapter to leave out; set train_unet {config.train_unet} to lora"
        )
    if config.resume_from_checkpoint not in (None, "latest"):
        raise ConfigError(f"resume_from_checkpoint is {config.resume_from_checkpoint!r}; use latest, or leave it out")


def same_run(first: dict[str, Any], second: SubjectConfig) -> list[str]:
    """Name the settings in which a checkpoint's configuration differs in a way that would change the result."""
    free = {"resume_from_checkpoint", "max_train_steps", "device", "output_dir", "checkpointing_steps",
            "checkpoints_total_limit", "validation_steps", "num_validation_images", "validation_prompt", "consent",
            "validation_inference_steps", "guidance_scale", "instance_data_dir", "class_data_dir",
            "pretrained_model_name_or_path", "tokenizer", "prediction", "vae", "embeddings", "loras", "lora_weights",
            "scheduler", "allow_download", "cache_dir"}  # fmt: skip
    names = [field.name for field in fields(second) if field.name not in free]
    return [name for name in names if first.get(name) != getattr(second, name)]
