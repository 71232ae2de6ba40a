"""Pictures for a person: garments tried on and scenes, from what that person chose before.

from personagen import Folder, Order, Studio

studio = Studio(source=Folder("clicks.csv", "shop", person="me.jpg"))

What is listed in `__all__` is imported when it is first asked for; importing the package costs nothing.
"""

from typing import TYPE_CHECKING

from recsys import __version__
from recsys.lazy import lazily

if TYPE_CHECKING:
    from .adapters.lora import load_adapter, save_adapter, save_kohya
    from .adapters.read import read_adapter
    from .devices import Compute, resolve
    from .models import load_text2image, load_tryon
    from .person.body import Body
    from .person.parser import load_parser
    from .pretrain import PretrainConfig
    from .styling.catalog import Catalog, FolderCatalog, Garment
    from .styling.config import StyleConfig
    from .styling.looks import write_looks
    from .styling.sources import Atelier, Folder, Source
    from .styling.studio import Order, Studio
    from .styling.stylist import Look, Stylist
    from .subject import SubjectConfig, train_subject
    from .subject.loaded import load_subjects
    from .tryon.dress import Piece, dress
    from .tryon.fast import FastMode
    from .tryon.pipeline import TryOnPipeline

__all__ = [
    "Atelier",
    "Body",
    "Catalog",
    "Compute",
    "FastMode",
    "Folder",
    "FolderCatalog",
    "Garment",
    "Look",
    "Order",
    "Piece",
    "PretrainConfig",
    "Source",
    "Studio",
    "StyleConfig",
    "Stylist",
    "SubjectConfig",
    "TryOnPipeline",
    "__version__",
    "dress",
    "load_adapter",
    "load_parser",
    "load_subjects",
    "load_text2image",
    "load_tryon",
    "read_adapter",
    "resolve",
    "save_adapter",
    "save_kohya",
    "train_subject",
    "write_looks",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "adapters.lora": ("load_adapter", "save_adapter", "save_kohya"),
        "adapters.read": ("read_adapter",),
        "devices": ("Compute", "resolve"),
        "models": ("load_text2image", "load_tryon"),
        "person.body": ("Body",),
        "person.parser": ("load_parser",),
        "pretrain": ("PretrainConfig",),
        "styling.catalog": ("Catalog", "FolderCatalog", "Garment"),
        "styling.config": ("StyleConfig",),
        "styling.looks": ("write_looks",),
        "styling.sources": ("Atelier", "Folder", "Source"),
        "styling.studio": ("Order", "Studio"),
        "styling.stylist": ("Look", "Stylist"),
        "subject": ("SubjectConfig", "train_subject"),
        "subject.loaded": ("load_subjects",),
        "tryon.dress": ("Piece", "dress"),
        "tryon.fast": ("FastMode",),
        "tryon.pipeline": ("TryOnPipeline",),
    },
)
