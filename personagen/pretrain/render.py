"""Stage 0: render the atelier's corpus, and write those of the photos where a folder of them is given."""

import time
from collections.abc import Iterator
from pathlib import Path

from recsys.types import Step

from ..atelier.corpus import write_corpus
from ..corpora.leftout import Tell, silent
from ..corpora.photos import write_garments_corpus, write_people_corpus
from .config import PretrainConfig


def render_corpora(config: PretrainConfig, *, tell: Tell = silent) -> Iterator[Step]:
    """Write `output_dir/atelier`, `scenes` where there are to be some, and `people` and `garments` of `corpus.photos`.

    Yields a Step after each sitting; `step` counts rows. Rendering goes on where it was cut off. tell: takes a
    line about photos that are left out.
    """
    settings, out, size = config.corpus, Path(config.output_dir), (config.height, config.width)
    parts = [("atelier", settings.rows, settings.heldout_rows)]
    if settings.scenes:
        parts.append(("scenes", settings.scenes, settings.scenes // 20))
    total, before, start = sum(train + held for _, train, held in parts), 0, time.perf_counter()
    for name, train, held in parts:
        for at in write_corpus(
            out / name, rows_train=train, rows_heldout=held, seed=config.loop.seed, size=size, empty=name == "scenes"
        ):
            yield Step(before + at, (before + at) / total, {}, None, time.perf_counter() - start)
            start = time.perf_counter()
        before += train + held
    if settings.photos is not None:
        written = {
            "people": write_people_corpus(settings.photos, out / "people", size=size, tell=tell),
            "garments": write_garments_corpus(settings.photos, out / "garments", size=size, tell=tell),
        }
        yield Step(total, 1.0, {}, {name: float(rows) for name, rows in written.items()}, time.perf_counter() - start)
