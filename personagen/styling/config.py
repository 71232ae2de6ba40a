"""Settings of the stylist; no heavy import, so that `personagen style --help` is quick."""

from dataclasses import dataclass

from recsys.errors import ConfigError, check_range


@dataclass(frozen=True)
class StyleConfig:
    """How looks are chosen and painted.

    pool: how many ranked items are considered. draws: how many embeddings are generated to read the taste. diversity
    0..1: 0 takes the best scores, 1 the most different items. batch_size: try-ons painted at once after the first,
    which comes alone. Steps (1 to 1000), guidance and negative prompt go to the two pipelines; `scene_size` (H, W)
    overrides the text-to-image model's own. scene_person: who the scenes show, such as "a sks person", a subject that
    model knows. sitter_in_scenes: scenes are painted empty and whoever is dressed is set into
    them; off: scenes show a painted person.
    """

    pool: int = 60
    draws: int = 16
    diversity: float = 0.3
    exclude_seen: bool = True
    batch_size: int = 2
    tryon_steps: int = 8
    tryon_guidance: float = 1.5
    scene_steps: int = 20
    scene_guidance: float = 3.0
    negative_prompt: str = ""
    scene_size: tuple[int, int] | None = None
    scene_person: str = "a person"
    sitter_in_scenes: bool = True

    def __post_init__(self) -> None:
        for name in ("pool", "draws", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        check_range(tryon_steps=(self.tryon_steps, 1, 1000), scene_steps=(self.scene_steps, 1, 1000))
        if not 0 <= self.diversity <= 1:
            raise ConfigError(
                f"diversity is {self.diversity}; it must lie in 0..1, 0 takes the best scores as they are"
            )
