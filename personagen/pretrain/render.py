"""Stage 0: render the atelier's corpus, and write those of the photos where a folder of them is given."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from recsys.types import Step

from ..atelier.corpus import SCENES_ALONE, Rendering, write_corpus
from ..corpora.leftout import Tell, silent
from ..corpora.photos import write_garments_corpus, write_people_corpus
from ..person.parser import load_parser
from .config import CorpusConfig, PretrainConfig
from .views import FIRST_SEED, views_of


def render_corpora(config: PretrainConfig, *, tell: Tell = silent) -> Iterator[Step]:
    """Write `output_dir/atelier`, `scenes` and `views` where there are to be some, and `people` and `garments` of
    `corpus.photos`.

    Yields a Step after each sitting; `step` counts rows. Rendering goes on where it was cut off. tell: takes a
    line about photos that are left out.
    """
    settings, out, size = config.corpus, Path(config.output_dir), (config.height, config.width)
    parts, seed = list(_parts(settings)), config.loop.seed
    total, before, start = sum(train + held for _, train, held, _ in parts), 0, time.perf_counter()
    for name, train, held, what in parts:
        first = seed + (FIRST_SEED if name == "views" else 0)
        for at in write_corpus(out / name, rows_train=train, rows_heldout=held, seed=first, size=size, what=what()):
            yield Step(before + at, (before + at) / total, {}, None, time.perf_counter() - start)
            start = time.perf_counter()
        before += train + held
    if settings.photos is not None:
        written = {
            "people": write_people_corpus(settings.photos, out / "people", size=size, tell=tell),
            "garments": write_garments_corpus(settings.photos, out / "garments", size=size, tell=tell),
        }
        yield Step(total, 1.0, {}, {name: float(rows) for name, rows in written.items()}, time.perf_counter() - start)


def _parts(settings: CorpusConfig) -> Iterator[tuple[str, int, int, Callable[[], Rendering]]]:
    """Name the corpora that are asked for, with their training and held-out rows and what is rendered."""
    if settings.rows:
        yield "atelier", settings.rows, settings.heldout_rows, Rendering
    if settings.scenes:
        yield "scenes", settings.scenes, settings.scenes // 20, lambda: SCENES_ALONE
    if settings.views:
        yield "views", settings.views, settings.views // 20, lambda: views_of(load_parser())
