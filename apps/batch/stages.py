"""The two stages of looks for many: plan (rank, choose, write prompts), then paint and store. Tables in, tables out.

What a user gets depends on run, user and item alone: a user is painted alone, on one thread, whoever comes before. So
pictures of two users never share a batch, which would save time on a GPU; a matrix product may differ in its last digit
with the number of its rows, and then so would the bytes.
"""

import hashlib
import json
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from personagen.styling.looks import write_look
from personagen.styling.planner import Chosen, Plan, PlannedScene
from personagen.styling.prompts import Prompt, Reason, Word
from personagen.styling.studio import Order, Studio
from recsys.errors import ConfigError, DataError

from ..commands.config import StyleConfig
from ..commands.shop import open_studio, subjects_module, with_subject
from .places import Place
from .results import PICTURES

PLANNED = pa.schema([("user", pa.string()), ("plan", pa.string()), ("failed", pa.string())])
MADE = pa.schema([("user", pa.string()), ("looks", pa.string()), ("failed", pa.string())])


@dataclass(frozen=True)
class Failure:
    """What could not be done: of whom, of which item (if of one), in which stage, and why."""

    user: str
    item: str | None
    stage: str
    reason: str


class Bench:
    """What both stages work with, opened when first needed, once in a process."""

    def __init__(self, settings: StyleConfig) -> None:
        self.settings = settings
        torch.set_num_threads(1)

    @cached_property
    def studio(self) -> Studio:
        """The users, items and models."""
        return open_studio(self.settings, self.settings.compute())

    @cached_property
    def mapping(self) -> dict[str, Any]:
        """Whose subject and photo is whose; what they hold is looked at user by user."""
        return subjects_module().read_mapping(self.settings.subjects) if self.settings.subjects else {}

    def order(self, user: str) -> Order:
        """Return what is made for a user.

        Raises:
            ConfigError, DataError: the user is unknown, or their subject or photo cannot be used.
        """
        settings, history = self.settings, tuple(self.studio.history(user))
        style = settings.stylist if settings.steps is None else replace(settings.stylist, scene_steps=settings.steps)
        order = Order(history, user, settings.looks, settings.scenes, settings.seed, style, settings.metadata)
        return with_subject(order, self.studio, self.mapping.get(user))[0]


class Planning:
    """Decide what users are shown: a table of users to PLANNED."""

    def __init__(self, settings: StyleConfig) -> None:
        self.bench = Bench(settings)

    def __call__(self, users: pa.Table) -> pa.Table:
        """Plan for some users."""
        return pa.Table.from_pylist([self._plan(user) for user in users["user"].to_pylist()], schema=PLANNED)

    def _plan(self, user: str) -> dict[str, Any]:
        failures: list[Failure] = []
        try:
            order, studio = self.bench.order(user), self.bench.studio
            body = studio.sitter(order).body if order.dresses else None
            plan, damaged = studio.stylist(order).decide(
                list(order.history),
                order.looks,
                body=body,
                scenes=order.scenes,
                seed=order.seed,
                config=order.painted(),
            )
            names = studio.source.catalog.names
            failures += [Failure(user, names[item - 1], "picture", why) for item, why in damaged.items()]
            text = json.dumps(asdict(plan))
        except Exception as error:
            failures.append(Failure(user, None, "plan", reason(error)))
            text = None
        return {"user": user, "plan": text, "failed": json.dumps([asdict(failure) for failure in failures])}


class Painting:
    """Paint planned looks and store them in `out`: PLANNED to MADE."""

    def __init__(self, settings: StyleConfig) -> None:
        self.bench, self.place = Bench(settings), Place(settings.out)

    def __call__(self, planned: pa.Table) -> pa.Table:
        """Paint for some users."""
        return pa.Table.from_pylist([self._paint(row) for row in planned.to_pylist()], schema=MADE)

    def _paint(self, row: dict[str, Any]) -> dict[str, Any]:
        looks, failed = [], json.loads(row["failed"])
        if row["plan"] is not None:
            try:
                looks = list(self._looks(row["user"], plan_of(json.loads(row["plan"]))))
            except Exception as error:
                looks = []
                failed.append(asdict(Failure(row["user"], None, "paint", reason(error))))
        return {"user": row["user"], "looks": json.dumps(looks), "failed": json.dumps(failed)}

    def _looks(self, user: str, plan: Plan) -> Iterator[dict[str, Any]]:
        order, studio = self.bench.order(user), self.bench.studio
        sitter, catalog = studio.sitter(order) if order.dresses else None, studio.source.catalog
        run, person = studio.record(order), None if sitter is None else sitter.image
        body = None if sitter is None else sitter.body
        painted = studio.stylist(order).paint(plan, person, body, seed=order.seed, user=user, config=order.painted())
        with tempfile.TemporaryDirectory(prefix="personagen-") as folder:
            for look in painted:
                file = Path(folder) / "look.png"
                write_look(look, file, catalog, run, order.metadata)
                content = file.read_bytes()
                name = hashlib.sha256(content).hexdigest()
                path = f"{PICTURES}/{name[:2]}/{name}.png"
                self.place.put(path, content)
                yield {"user": user, "item": catalog.names[look.item - 1], "kind": look.kind, "prompt": look.prompt,
                       "seed": look.seed, "score": look.score, "path": path}  # fmt: skip


def reason(error: Exception) -> str:
    """Say why a user is left out, or raise again what all users would suffer from: a full disk, a missing model."""
    if isinstance(error, ConfigError | DataError):
        return str(error)
    if getattr(error, "exit_code", None) is not None or isinstance(error, OSError | MemoryError):
        raise error
    traceback.print_exception(error, file=sys.stderr)
    return f"{type(error).__name__}: {error}"


def plan_of(content: dict[str, Any]) -> Plan:
    """Read a plan from JSON values, as `asdict` gives them."""
    return Plan(
        tuple(Word(**word) for word in content["taste"]),
        tuple(map(_chosen, content["wear"])),
        tuple(_scene(scene) for scene in content["scenes"]),
        tuple(map(_chosen, content["spare"])),
    )


def _chosen(content: dict[str, Any]) -> Chosen:
    return Chosen(content["item"], content["score"], tuple(Reason(**why) for why in content["reasons"]))


def _scene(content: dict[str, Any]) -> PlannedScene:
    prompt = content["prompt"]
    words = Prompt(prompt["text"], tuple(prompt["garments"]), prompt["scene"])
    return PlannedScene(_chosen(content["chosen"]), words, tuple(content["outfit"]))
