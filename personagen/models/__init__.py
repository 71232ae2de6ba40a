"""The embedded models, and how a base model is loaded by name or by path; offline unless asked otherwise."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys.errors import ModelError, shown
from recsys.text import from_json

from ..devices import CPU, Compute
from ..embedded import EMBEDDED, FILES, WEIGHTS
from ..quiet import quiet
from ..schedulers import use_sampler
from ..tryon.config import BaseConfig
from .config import PLAIN, OwnWeights, refuse_pickle
from .hub import from_hub, is_hub_id

if TYPE_CHECKING:
    import torch
    from diffusers import ControlNetModel, StableDiffusionPipeline, StableDiffusionXLPipeline

    from ..tryon.pipeline import TryOnPipeline


def load_text2image(
    name_or_path: str | Path = "embedded", *, own: OwnWeights = PLAIN, compute: Compute = CPU
) -> "StableDiffusionPipeline | StableDiffusionXLPipeline":
    """Load a text-to-image pipeline: the embedded one, or any Stable Diffusion 1.x, 2.x or XL, with what lies over it.

    name_or_path: a folder in diffusers' layout, a single .safetensors file, or a hub id such as owner/model, which is
    fetched only where `own` allows it. own: the tokenizer of a single file, another autoencoder, textual inversions,
    LoRAs, the sampler. compute: on which device and in which precision (`devices.resolve`), a CPU in float32 when left
    out.

    Raises:
        ConfigError: `own` contradicts itself.
        ModelError: files are missing or damaged, or do not fit; it names them and their folder.
    """
    with quiet():
        from .text2image import lay_over, read_text2image

        if Path(name_or_path).suffix == ".safetensors":
            pipe: Any = read_text2image(Path(name_or_path), own, dtype=compute.torch_dtype)
        else:
            refuse_pickle(name_or_path)
            source = _resolve(name_or_path, "text2image", FILES["text2image"], allow_download=own.allow_download)
            pipe = _read(_text2image_class(source), source, dtype=compute.torch_dtype)
        lay_over(pipe, own)
    pipe.set_progress_bar_config(disable=True)
    return compute.place(pipe)


def _text2image_class(folder: Path) -> Any:
    """Name the class that a folder's model_index.json asks for."""
    import diffusers

    try:
        name = from_json((folder / "model_index.json").read_text(encoding="utf-8"))["_class_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"the model in {folder} cannot be loaded: its model_index.json is damaged ({shown(error, most=200)})"
        ) from error
    if name not in ("StableDiffusionPipeline", "StableDiffusionXLPipeline"):
        raise ModelError(f"the model in {folder} is a {name}; give a Stable Diffusion 1.x, 2.x or XL")
    return getattr(diffusers, name)


def load_tryon(name_or_path: str | Path = "embedded", *, compute: Compute = CPU) -> "TryOnPipeline":
    """Load a try-on pipeline: the embedded one, or a folder that `save_pretrained` or the tryon stage wrote.

    A folder without an autoencoder of its own (`vae`) gets the embedded text-to-image model's, or, where a folder
    `embedded` lies beside it or beside its parent's `text2image`, that one's. compute: as for `load_text2image`.

    Raises:
        ModelError: files are missing or damaged; it names them and their folder.
    """
    with quiet():
        from diffusers import AutoencoderKL

        from ..tryon.pipeline import TryOnPipeline

        source = _resolve(name_or_path, "tryon", FILES["tryon"])
        components = {}
        if not (source / "vae").is_dir():
            components["vae"] = _read(AutoencoderKL, _shared_vae(source), dtype=compute.torch_dtype)
        pipe = _read(TryOnPipeline, source, dtype=compute.torch_dtype, **components)
    return compute.place(pipe)


def load_controlnet(folder: str | Path, *, compute: Compute = CPU) -> "ControlNetModel":
    """Load a ControlNet from a folder in diffusers' layout; compute: as for `load_text2image`, without offloading.

    Raises:
        ModelError: it is missing or damaged.
    """
    with quiet():
        from diffusers import ControlNetModel

        source = Path(folder)
        if not (source / "config.json").is_file():
            raise ModelError(
                f"there is no ControlNet in {source}; give a folder with config.json and .safetensors weights"
            )
        return _read(ControlNetModel, source, dtype=compute.torch_dtype).to(compute.device)


def open_tryon(
    name_or_path: str | Path = "embedded",
    *,
    base: BaseConfig | None = None,
    scheduler: str | None = None,
    compute: Compute = CPU,
) -> "TryOnPipeline":
    """Open a try-on model by its folder, or put it together from `base`; scheduler: another sampler than its own.

    Raises:
        ConfigError, ModelError: as `load_tryon` and `load_tryon_base` do.
    """
    if base is None:
        pipe = load_tryon(name_or_path, compute=compute)
    else:
        from .base import load_tryon_base

        pipe = load_tryon_base(base, compute=compute)
    use_sampler(pipe, scheduler)
    return pipe


def _resolve(name_or_path: str | Path, kind: str, files: tuple[str, ...], *, allow_download: bool = False) -> Path:
    """Turn a name or path into a folder that holds `files`; a hub id is fetched only with allow_download."""
    folder = EMBEDDED[kind] if name_or_path == "embedded" else Path(name_or_path)
    if not folder.is_dir():
        if kind == "text2image" and is_hub_id(name_or_path):
            return from_hub(name_or_path, allow_download=allow_download)
        raise ModelError(f"there is no model at {folder}; {_remedy(name_or_path)}")
    needed = files if name_or_path == "embedded" or kind == "tryon" else ("model_index.json",)
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"the model in {folder} lacks {', '.join(missing)}; {_remedy(name_or_path)}")
    return folder


def _remedy(name_or_path: str | Path) -> str:
    if name_or_path == "embedded":
        return (
            "clone the repository again, or train it: personagen pretrain configs/pretrain/vae.yaml, then "
            "text.yaml, text2image.yaml and tryon.yaml"
        )
    return "give the path of a folder in diffusers' layout (model_index.json, unet/, ...) or of a .safetensors file"


def _shared_vae(source: Path) -> Path:
    """Find the autoencoder of a try-on model without one: beside it, in a run of pretraining, or the embedded one."""
    places = (
        source.parent / "embedded" / "vae",
        source.parent.parent / "text2image" / "embedded" / "vae",
        EMBEDDED["text2image"] / "vae",
    )
    for folder in places:
        if (folder / WEIGHTS).is_file():
            return folder
    raise ModelError(
        f"the try-on model in {source} has no vae/ of its own, and none was found in {', '.join(map(str, places))}; "
        "copy the autoencoder that it was trained with to one of them"
    )


def _read(kind: Any, source: Path, *, dtype: "torch.dtype", **components: Any) -> Any:
    """Call from_pretrained safely; whatever it finds wrong with the files becomes a ModelError."""
    try:
        return kind.from_pretrained(str(source), dtype=dtype, use_safetensors=True, local_files_only=True, **components)
    except ModelError:
        raise
    except Exception as error:  # diffusers, safetensors and transformers each have errors of their own
        raise ModelError(
            f"the model in {source} cannot be loaded ({type(error).__name__}: {error}); copy or train it again"
        ) from error
