"""What is told while pipelines work: each denoising step, the time left, and a small picture of what is coming."""

import base64
import io
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from queue import Queue
from threading import Event, Thread
from typing import Any, TypeVar

import torch
from PIL import Image

from personagen.styling.studio import Watched

from .shared import Shown

T = TypeVar("T")
PREVIEWS = 4
"""Previews of each picture, at most one every second step."""
CSS = """
.coming { margin: 0; }
.coming img { display: block; height: 220px; max-width: 100%; object-fit: contain; border-radius: 12px; }
.coming figcaption { color: var(--personagen-quiet); font-size: .85rem; margin-bottom: .3rem; }
"""


class Steps(Watched):
    """A pipeline that asks `stop()` after every denoising step, and tells `seen(pipeline, step, latents)` of it."""

    def __init__(self, pipeline: Any, stop: Callable[[], bool], seen: Callable[[Any, int, Any], None]) -> None:
        super().__init__(pipeline, stop)
        self.seen = seen

    def _look_up(self, pipeline: Any, step: int, timestep: int, tensors: dict) -> dict:
        found = super()._look_up(pipeline, step, timestep, tensors)
        self.seen(pipeline, step + 1, tensors.get("latents"))
        return found


def live(work: Callable[[Callable[[Any], None]], T], stop: Event) -> Generator[Any, None, T]:
    """Do `work(tell)` in a thread, yield what it tells when it tells it, and return its result or raise its error.

    stop: set when nobody listens any more.
    """
    told: Queue[tuple[str, Any]] = Queue()

    def run() -> None:
        try:
            told.put(("result", work(lambda message: told.put(("told", message)))))
        except BaseException as error:
            told.put(("error", error))

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            kind, message = told.get()
            if kind == "result":
                return message
            if kind == "error":
                raise message
            yield message
    except GeneratorExit:
        stop.set()
        raise
    finally:
        thread.join()


def passed_on(working: Generator[Any, None, T], rest: list[Any]) -> Generator[Shown, None, T]:
    """Pass on lines and parts that are told, with `rest` for the outputs; return the result of the work.

    A third thing that is told, what is coming as HTML, goes to the first output, where it is not empty.
    """
    while True:
        try:
            text, part, *coming = next(working)
        except StopIteration as end:
            return end.value
        yield text, part, [coming[0], *rest[1:]] if any(coming) else rest


class Pace:
    """How much of a number of steps is done, and how long the others may take."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.begun = max(1, total), 0, time.monotonic()

    def step(self) -> float:
        """Count a step; return the part done, 0..1."""
        self.done += 1
        return min(1.0, self.done / self.total)

    def left(self) -> str:
        """Say the seconds that are left; nothing until they can be told."""
        if self.done < 2 or self.done >= self.total:
            return ""
        each = (time.monotonic() - self.begun) / self.done
        return f" · about {max(1, round(each * (self.total - self.done)))} s left"


def coming_place(gr: Any, elem_id: str) -> Any:
    """Draw the place of what is coming, which is not seen as long as it is empty.

    It never changes `visible`: of several quick updates that add and remove a component, the browser may lose the last
    one, which brings the result.
    """
    return gr.HTML("", padding=False, elem_id=elem_id)


def coming_of(pipeline: Any, latents: Any, step: int, steps: int) -> str:
    """Return what is coming after some steps as HTML; empty where it is not yet time, or cannot be decoded."""
    if step >= steps or step % max(2, steps // PREVIEWS):
        return ""
    image, data = preview(pipeline, latents), io.BytesIO()
    if image is None:
        return ""
    image.save(data, "JPEG", quality=85)
    source = f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
    said = f"Coming, after step {step} of {steps}"
    return f'<figure class="coming"><figcaption>{said}</figcaption><img src="{source}" alt="{said}"></figure>'


@torch.no_grad()
def preview(pipeline: Any, latents: Any) -> Image.Image | None:
    """Decode latents (1, C, h, w) at half their size; None where that is not possible."""
    with suppress(RuntimeError, AttributeError, ValueError, TypeError):
        small = torch.nn.functional.interpolate(latents[:1].float(), scale_factor=0.5, mode="bilinear")
        vae = pipeline.vae
        config = vae.config
        image = vae.decode(small.to(vae.dtype) / config.scaling_factor, return_dict=False)[0][0]
        pixels = ((image.float() / 2 + 0.5).clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy()
        return Image.fromarray(pixels)
    return None
