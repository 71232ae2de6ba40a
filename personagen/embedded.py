"""Where the weights that come with the package lie: one table, read by every loader and by `personagen doctor`."""

from pathlib import Path

_MODELS = Path(__file__).parent / "models"
EMBEDDED: dict[str, Path] = {
    "text2image": _MODELS / "embedded",
    "tryon": _MODELS / "tryon",
    "parser": _MODELS / "parser",
    "garment": _MODELS / "garment",
    "view": _MODELS / "view",
    "recommender": _MODELS / "recommender",
}
"""Try-on shares the autoencoder of text2image; view is a LoRA on the network of tryon."""
WEIGHTS = "diffusion_pytorch_model.safetensors"
FILES: dict[str, tuple[str, ...]] = {
    "text2image": (
        "model_index.json",
        "tokenizer/tokenizer.json",
        "text_encoder/model.safetensors",
        f"vae/{WEIGHTS}",
        f"unet/{WEIGHTS}",
        "scheduler/scheduler_config.json",
    ),
    "tryon": ("model_index.json", f"unet/{WEIGHTS}", "scheduler/scheduler_config.json"),
    "parser": ("config.json", "model.safetensors"),
    "garment": ("config.json", "model.safetensors", "kinds.safetensors"),
    "view": ("model.safetensors",),
    "recommender": ("config.json", "items.json", "model.safetensors"),
}
"""What a whole model of each kind holds."""


def missing_files(name_or_path: str | Path, kind: str) -> list[str]:
    """List the files that a model of `kind`, a key of `EMBEDDED`, lacks; empty when it is whole."""
    folder = EMBEDDED[kind] if name_or_path == "embedded" else Path(name_or_path)
    return [name for name in FILES[kind] if not (folder / name).is_file()]
