"""Write the hostile files anew: `python -m tests.corpus.make`."""

import shutil
from collections.abc import Mapping

from . import pictures, tables, texts, weights
from .hostile import FILES, SORTS

CONTENT: Mapping[str, Mapping[str, bytes]] = {
    **pictures.content(),
    **tables.content(),
    **texts.content(),
    **weights.content(),
}


def main() -> None:
    """Write every file of every sort; what lay there goes."""
    for sort in SORTS:
        shutil.rmtree(FILES / sort, ignore_errors=True)
        (FILES / sort).mkdir(parents=True)
        for name, data in CONTENT[sort].items():
            (FILES / sort / name).write_bytes(data)


if __name__ == "__main__":
    main()
