"""Read what a prompt asks of a figure: a pose, a place, a view and a light; and say which words nobody understood.

No language model: what one can say of a stage is little, and a table shows what it knows. Words about cloth and colours
are not for here: the figure wears the garment of its picture.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recsys.errors import ConfigError, DataError, shown

from ..vocabulary import SCENES
from .poses import AS_PHOTO, POSES

POSE_WORDS: dict[str, tuple[str, ...]] = {
    "standing": ("standing", "stands", "stand", "upright", "standing still", "arms down"),
    "arms out": ("arms out", "arms outstretched", "outstretched arms", "arms spread", "spread arms", "arms wide",
                 "t pose", "arms to sides", "arms apart"),
    "arms raised": ("arms raised", "raised arms", "arms up", "hands up", "hands raised", "raising arms", "raises arms",
                    "raising hands", "cheering", "cheers", "arms in air", "hands in air", "arms overhead"),
    "hands on hips": ("hands on hips", "hand on hip", "hands on waist", "arms akimbo", "akimbo"),
    "waving": ("waving", "waves", "wave", "waving hand", "saying hello", "greeting"),
    "walking": ("walking", "walks", "walk", "on a walk", "strolling", "strolls", "striding", "strides", "going"),
}  # fmt: skip
REFUSED = {
    "sit": ("sitting", "sits", "sit", "seated"),
    "lie": ("lying", "lies down", "lying down"),
    "kneel": ("kneeling", "kneels", "crouching", "crouches", "squatting"),
    "jump": ("jumping", "jumps", "leaping"),
    "run": ("running", "runs", "jogging"),
    "dance": ("dancing", "dances"),
}
"""What a rig made from one standing photo cannot do."""
SCENE_WORDS: dict[str, tuple[str, ...]] = {
    "studio": ("studio", "plain background", "plain backdrop", "backdrop", "photo studio"),
    "street": ("street", "streets", "town", "city", "road", "pavement", "sidewalk", "downtown", "shops", "alley"),
    "beach": ("beach", "sea", "seaside", "ocean", "shore", "coast", "sand", "by water"),
    "park": ("park", "garden", "forest", "woods", "trees", "meadow", "lawn", "grass", "nature", "countryside"),
    "snow": ("snow", "snowy", "winter", "mountains", "alps", "ski slope", "snowy mountains", "winter landscape"),
    "night city": ("night city", "city at night", "street at night", "streets at night", "town at night", "at night",
                   "night", "neon", "neon lights", "nightlife", "midnight"),
}  # fmt: skip
VIEW_WORDS: dict[float, tuple[str, ...]] = {
    0.0: ("from front", "front view", "frontal", "facing camera", "facing viewer"),
    45.0: ("three quarter view", "three quarters", "three quarter", "at angle", "from an angle", "half turned"),
    90.0: ("from side", "side view", "profile", "in profile", "from left", "left side"),
    180.0: ("from behind", "from back", "back view", "rear view", "seen from behind", "facing away"),
    270.0: ("from right", "right side"),
}
LIGHT_WORDS: dict[str, tuple[str, ...]] = {
    "warm": ("warm light", "warm", "golden hour", "golden light", "sunset", "at sunset", "sunrise", "evening light",
             "evening sun", "candlelight"),
    "cool": ("cool light", "cold light", "blue light", "blue hour", "moonlight", "dawn"),
    "soft": ("soft light", "diffuse light", "overcast", "cloudy", "even light", "shade"),
    "bright": ("bright light", "bright", "sunny", "sunlight", "sunshine", "daylight", "midday", "noon"),
    "dim": ("dim light", "dim", "dark", "moody", "low light", "gloomy"),
}  # fmt: skip
SMALL = frozenset(
    "a an the in on at of to with and is are be as it its this that there while who which for by photo picture image "
    "portrait shot view light someone somebody person man woman figure model people please make show me him them they "
    "he she i you looking look full body whole length realistic photorealistic".split()
)
"""Words that ask for nothing."""
OWNERS = frozenset(("her", "his", "their", "my", "your", "both", "the", "one", "a", "an"))
"""Words that may stand within a phrase."""
NOT = frozenset(("not", "no", "without", "never"))


@dataclass(frozen=True)
class Staging:
    """What a prompt asks for, None or the photo's pose where it does not say; `used` and `unused`: its words."""

    pose: str = AS_PHOTO
    scene: str | None = None
    view: float | None = None
    light: str | None = None
    used: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """Say in one line what was understood and what was not; empty without words."""
        parts = [f"understood: {', '.join(self.used)}"] if self.used else []
        parts += [f"not understood, so left out: {', '.join(self.unused)}"] if self.unused else []
        return "; ".join(parts)


class _Table:
    """Phrases of one sort, without the words that may stand within them, and what was found of it."""

    def __init__(self, words: Mapping[Any, tuple[str, ...]]) -> None:
        self.phrases = {_bare(text.split()): value for value, some in words.items() for text in some}
        self.value: Any = None

    def takes(self, value: Any) -> bool:
        """Tell whether this is the first of its sort, or a street that night falls on."""
        return self.value is None or (self.value, value) == ("street", "night city")


def read_prompt(prompt: str) -> Staging:
    """Find pose, place, view and light in a prompt; of two of a sort the first one counts.

    Raises:
        DataError: a pose that a figure from one photo cannot take.
    """
    sorts = {"pose": POSE_WORDS, "scene": SCENE_WORDS, "view": VIEW_WORDS, "light": LIGHT_WORDS, "refused": REFUSED}
    tables = {name: _Table(words) for name, words in sorts.items()}
    words = re.findall(r"[^\W_]+", prompt.lower().replace("'s", ""))
    used, unused, at, negated = [], [], 0, False
    while at < len(words):
        name, size = _longest(words, at, tables)
        text, value = " ".join(words[at : at + size]), None
        if name is None:
            negated = words[at] in NOT or (negated and words[at] in OWNERS)
            if words[at] not in SMALL | OWNERS:
                unused.append(text)
        else:
            value = tables[name].phrases[_bare(words[at : at + size])]
            if negated or not tables[name].takes(value):
                unused.append(text)
            elif name == "refused":
                raise DataError(f"{text!r}: a figure made from one standing photo cannot; it can be {_poses()}")
            else:
                tables[name].value = value
                used.append(text)
            negated = False
        at += size
    found = {name: tables[name].value for name in ("scene", "view", "light")}
    return Staging(tables["pose"].value or AS_PHOTO, **found, used=tuple(used), unused=tuple(unused))


def _bare(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in OWNERS)


def _longest(words: list[str], at: int, tables: dict[str, _Table]) -> tuple[str | None, int]:
    """The table and the number of words of the longest known phrase that begins at a word; None and 1 without one."""
    if words[at] in OWNERS:
        return None, 1
    for size in range(min(6, len(words) - at), 0, -1):
        if words[at + size - 1] in OWNERS:
            continue
        phrase = _bare(words[at : at + size])
        for name, table in tables.items():
            if phrase in table.phrases:
                return name, size
    return None, 1


def _poses() -> str:
    return ", ".join(name for name in POSES if name != AS_PHOTO)


def scene_named(name: str) -> str:
    """Return a scene by its name.

    Raises:
        ConfigError: there is none.
    """
    if name not in SCENES:
        raise ConfigError(f"scene {shown(name)} is not known; choose one of {', '.join(SCENES)}")
    return name
