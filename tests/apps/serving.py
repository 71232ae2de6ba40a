"""A page that is served while tests look at it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from personagen.styling.studio import Studio


@contextmanager
def serving(studio: Studio, folder: Path, *, door: Any = None, port: int | None = None, **build: Any) -> Iterator[Any]:
    """Serve a page whose files lie in `folder`; gives its url, folder, door and how to close it.

    Gradio asks the environment for the folder at every request: of two pages only the one opened last takes uploads,
    so one that is opened within a test's life must be closed within it.
    """
    from apps.page import app  # gradio, which other tests of this folder do without

    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    page = app.build(studio, folder, door=door, **build)
    try:
        _, url, _ = page.launch(**app.launch_settings(str(folder), door), server_name="127.0.0.1", server_port=port)
        yield SimpleNamespace(url=url, folder=folder, door=door, close=lambda: page.close(verbose=False))
    finally:
        page.close(verbose=False)
        os.environ.pop("GRADIO_TEMP_DIR") if before is None else os.environ.update(GRADIO_TEMP_DIR=before)
