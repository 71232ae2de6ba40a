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
SMALL = 32
"""Longest side of latents that are decoded whole."""
CSS = """
.coming { margin: 0; }
.coming img { display: block; height: 220px; max-width: 100%; object-fit: contain; border-radius: 12px; }
.coming figcaption { color: var(--personagen-quiet); font-size: .85rem; margin-bottom: .3rem; }
"""


class Steps(Watched):
    """A pipeline that asks `stop()` after every denoising step, and tells `seen(pipeline, step, latents)` of it.

    The latents are those that the picture is heading for, as far as they can be told.
    """

    def __init__(self, pipeline: Any, stop: Callable[[], bool], seen: Callable[[Any, int, Any], None]) -> None:
        super().__init__(pipeline, stop)
        self.seen, self.before = seen, None

    def _look_up(self, pipeline: Any, step: int, timestep: int, tensors: dict) -> dict:
        found, latents = super()._look_up(pipeline, step, timestep, tensors), tensors.get("latents")
        before, self.before = self.before if step else None, latents
        self.seen(pipeline, step + 1, heading_for(pipeline.scheduler, before, latents, step))
        return found


def heading_for(scheduler: Any, before: Any, latents: Any, step: int) -> Any:
    """Return the clean latents on which a denoising step is heading; the noisy ones where that cannot be told.

    before, latents: ahead of step `step` (from 0) and after it. Without new noise both are the same mixture
    signal · clean + noise · ε at two levels, so that clean and ε follow from the two.
    """
    levels = None if before is None or latents is None else levels_of(scheduler, step)
    if levels is None or before.shape != latents.shape:
        return latents
    (signal, noise), (signal_after, noise_after) = levels
    return (noise * latents - noise_after * before) / (signal_after * noise - signal * noise_after)


def levels_of(scheduler: Any, step: int) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return (signal, noise) ahead of a step and after it; None after the last one and with samplers that add noise."""
    noisy = any(word in type(scheduler).__name__ for word in ("Ancestral", "LCM"))
    if noisy or step + 1 >= len(scheduler.timesteps) or not hasattr(scheduler, "alphas_cumprod"):
        return None
    if float(scheduler.init_noise_sigma) > 1.5:  # noise is laid on a picture that keeps its scale
        first, second = ((1.0, float(scheduler.sigmas[at])) for at in (step, step + 1))
        return first, second
    kept = (float(scheduler.alphas_cumprod[int(scheduler.timesteps[at])]) for at in (step, step + 1))
    first, second = ((share**0.5, (1 - share) ** 0.5) for share in kept)
    return first, second


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
    """Decode latents (1, C, h, w), at half their size where they are large; None where that is not possible."""
    with suppress(RuntimeError, AttributeError, ValueError, TypeError):
        small = latents[:1].float()
        if max(small.shape[2:]) > SMALL:
            small = torch.nn.functional.interpolate(small, scale_factor=0.5, mode="bilinear")
        vae = pipeline.vae
        config = vae.config
        image = vae.decode(small.to(vae.dtype) / config.scaling_factor, return_dict=False)[0][0]
        pixels = ((image.float() / 2 + 0.5).clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy()
        return Image.fromarray(pixels)
    return None
