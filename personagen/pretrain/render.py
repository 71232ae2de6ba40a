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
    """Write `output_dir/atelier`, and `output_dir/people` and `output_dir/garments` of `corpus.photos`.

    Yields a Step after each sitting; `step` counts rows. Rendering goes on where it was cut off. tell: takes a
    line about photos that are left out.
    """
    settings, out, size = config.corpus, Path(config.output_dir), (config.height, config.width)
    total, start = settings.rows + settings.heldout_rows, time.perf_counter()
    for at in write_corpus(
        out / "atelier", rows_train=settings.rows, rows_heldout=settings.heldout_rows, seed=config.loop.seed, size=size
    ):
        yield Step(at, at / total, {}, None, time.perf_counter() - start)
        start = time.perf_counter()
    if settings.photos is not None:
        written = {
            "people": write_people_corpus(settings.photos, out / "people", size=size, tell=tell),
            "garments": write_garments_corpus(settings.photos, out / "garments", size=size, tell=tell),
        }
        yield Step(total, 1.0, {}, {name: float(rows) for name, rows in written.items()}, time.perf_counter() - start)
