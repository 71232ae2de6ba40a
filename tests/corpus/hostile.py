"""List the hostile files: small inputs that are damaged, odd, or of another kind than their names say.

They lie in `files/`, a folder for each sort; `make.py` writes them.
"""

from dataclasses import dataclass
from pathlib import Path

FILES = Path(__file__).parent / "files"
TEXTS = ("interactions", "catalog", "mapping", "users", "pairs", "caption", "metadata", "config")
JSONS = ("recommender/config.json", "recommender/items.json", "recommender/run.json", "subject/run.json",
         "model/model_index.json", "model/unet/config.json", "parser/config.json", "checkpoint/state.json",
         "checkpoint/manifest.json")  # fmt: skip
WEIGHTS = ("adapter", "embedding", "single file", "recommender/model.safetensors", "recommender/tally.safetensors",
           "subject/pytorch_lora_weights.safetensors", "parser/model.safetensors",
           "checkpoint/model.safetensors")  # fmt: skip
SORTS: dict[str, tuple[str, ...]] = {
    "pictures": ("picture", "mask"),
    "masks": ("mask", "picture"),
    "labels": ("labels", "mask"),
    "interactions": ("interactions",),
    "catalogs": ("catalog",),
    "mappings": ("mapping",),
    "users": ("users",),
    "pairs": ("pairs",),
    "captions": ("caption",),
    "metadata": ("metadata",),
    "configs": ("config",),
    "texts": TEXTS,
    "json": JSONS,
    "recommender-config": ("recommender/config.json",),
    "recommender-items": ("recommender/items.json",),
    "subject-run": ("subject/run.json",),
    "weights": WEIGHTS,
    "adapters": ("adapter", "subject/pytorch_lora_weights.safetensors"),
    "embeddings": ("embedding",),
}
"""Sort -> the kinds of input that its files can stand for. A kind with a slash is a file of a saved folder."""
KINDS = tuple(dict.fromkeys(kind for kinds in SORTS.values() for kind in kinds))


@dataclass(frozen=True)
class Hostile:
    """A hostile file, and the kinds of input (`KINDS`) that it can stand for."""

    path: Path
    kinds: tuple[str, ...]


def hostile(kind: str | None = None) -> list[Hostile]:
    """List the hostile files, or those that can stand for one kind of input, by name."""
    found = [Hostile(path, kinds) for sort, kinds in SORTS.items() for path in sorted((FILES / sort).iterdir())]
    return [one for one in found if kind is None or kind in one.kinds]
