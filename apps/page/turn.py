"""The try-on tab's button "Turn (3D)": what was given becomes a figure that is turned in the browser, and can be saved.

`turn_widgets` draws it below the result, `connect_turn` lets it work.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from personagen.figure.pipeline import Figure3DOutput, Figure3DPipeline
from personagen.figure.words import Staging, read_prompt
from personagen.figure.writing import Asked, write_figure
from personagen.images import load_image
from personagen.person.parser import Parser
from personagen.provenance import versions
from personagen.styling.studio import Halted, Watched
from personagen.tryon.dress import Piece, in_order
from personagen.tryon.trust import Trust, lowest
from recsys.errors import SEEDS, DataError, check_range

from .kinds import worn_pieces
from .line import PICTURE
from .live import live, passed_on
from .shared import Bar, Bench, Shown, Task, number, offer, wire

STAGES = {
    "person": ("Looking for the person …", 0.02),
    "try-on": ("Dressing …", 0.05),
    "geometry": ("Building the body …", 0.45),
    "colours": ("Painting what the photo does not show …", 0.6),
    "layers": ("Cutting cloth and body apart …", 0.75),
    "rig": ("Giving it bones …", 0.8),
    "complete": ("Lighting its back …", 0.85),
}
"""What is said at each stage, and the part that is done then."""
EXAMPLES = "such as: walking in the park · arms raised · waving on the beach"
CAMERA, CLEAR = (90, 82, 3.2), (0.955, 0.955, 0.948, 1.0)
"""From the front, a little above the waist, 3.2 m away, before pale paper."""


def turn_widgets(gr: Any) -> dict[str, Any]:
    """Draw the button, its words and the place of the figure into the open context; return them by name."""
    with gr.Row(equal_height=True):
        words = gr.Textbox(
            "",
            label="Pose and place, in words",
            placeholder=EXAMPLES,
            max_lines=1,
            scale=3,
            min_width=300,
            elem_id="turn-words",
        )
        button = gr.Button("Turn (3D)", elem_id="turn-go", scale=1, min_width=140)
    figure = gr.Model3D(
        label="Drag to turn, scroll to come closer", clear_color=CLEAR, camera_position=CAMERA, height=560,
        interactive=False, visible="hidden", elem_id="turn-figure",  # it draws nothing where it is added later
    )  # fmt: skip
    return {"turn": button, "words": words, "figure": figure, "figure-files": gr.HTML(elem_id="turn-files")}


def connect_turn(bench: Bench, widgets: dict[str, Any], garments: Sequence[Any]) -> None:
    """Let the button work; garments: the components of photo and kind, one after the other.

    It shares the tab's line, Cancel and job with "Try on".
    """
    import gradio as gr

    bar = Bar(widgets["state"], widgets["turn"], widgets["stop"], "wear", also=(widgets["go"],))
    asked = [widgets[name] for name in ("person", "words", "steps", "guidance", "seed")]
    wire(
        bench, bar, button=widgets["turn"], rank=PICTURE, work=_turn(bench), inputs=[*asked, *garments],
        outputs=[widgets["figure"], widgets["figure-files"]], first="Dressing …",
        clear=[gr.update(value=None, visible="hidden"), ""],
    )  # fmt: skip


def _turn(bench: Bench) -> Callable[..., Iterator[Shown]]:
    import gradio as gr

    def turn(
        task: Task, person: str | None, words: str, steps: int, guidance: float, seed: int, *garments: Any
    ) -> Iterator[Shown]:  # fmt: skip
        start = time.monotonic()
        if person is None:
            raise DataError("there is no photo of a person; give one")
        check_range(steps=(int(steps), 1, 1000), guidance=(float(guidance), 1, 30))
        check_range(seed=(number(seed, "the seed"), *SEEDS))
        staging, (pieces, found) = read_prompt(words or ""), _pieces(task, garments, bench.studio.parser)
        studio = bench.studio
        pipeline = Figure3DPipeline(Watched(studio.tryon, task.turn.stopped), studio.parser, studio.completer)

        def work(tell: Callable[[Any], None]) -> list[Path]:
            def stage(name: str) -> None:
                if task.turn.stopped():
                    raise Halted
                tell(STAGES.get(name, (name, 0.5)))

            made = pipeline(
                load_image(task.visit.own(person)), pieces, num_inference_steps=int(steps),
                guidance_scale=float(guidance), judge=trusts.append, callback=stage,
                generator=torch.Generator().manual_seed(number(seed, "the seed")),
            )  # fmt: skip
            notes.extend(made.notes)
            tell(("Writing the files …", 0.9))
            return _write(task, made, staging, [piece.kind for piece in pieces], words, number(seed, "the seed"))

        notes, trusts = [f"the garment is {one}" for one in found], list[Trust]()
        files = yield from passed_on(live(work, task.job.stop), [gr.skip()] * 2)
        said = [f"A figure in {time.monotonic() - start:.0f} s", *notes, lowest(trusts), staging.note]
        text = " · ".join(filter(None, said))
        links = " ".join(offer(file, f"Save {file.name}") for file in files)
        yield text, 1.0, [gr.update(value=str(files[0]), visible=True), links]

    return turn


def _pieces(task: Task, garments: Sequence[Any], parser: Parser) -> tuple[list[Piece], list[str]]:
    """Read the garments that are given, and say what was found of them: none leaves the person as they are."""
    pieces, found = worn_pieces(task.visit, [one or None for one in garments], parser)
    return (in_order(pieces) if pieces else []), found


def _write(
    task: Task, made: Figure3DOutput, staging: Staging, kinds: list[str], words: str, seed: int
) -> list[Path]:  # fmt: skip
    """Write the figure, and where the words name a place or a light, an animation of one turn in it."""

    def halt() -> None:
        if task.turn.stopped():
            raise Halted

    record = {"kind": "figure", "garments": kinds, "prompt": words, "seed": seed, "versions": versions()}
    turntable = task.job.folder / "figure.webp" if staging.scene or staging.light else None
    asked = Asked(turntable=turntable, unlit=True, seed=seed)  # the photo holds its own light
    return write_figure(made.figure, task.job.folder / "figure.glb", staging, asked, record=record, before=halt)
