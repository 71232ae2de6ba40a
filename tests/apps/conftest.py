"""A studio with tiny real models, and its page in a real browser."""

import shutil
from pathlib import Path

import pytest
import torch

from personagen.styling.catalog import attribute_matrix
from personagen.styling.studio import Studio
from recsys.models import MODELS

from ..stores import gs_store, s3_store  # noqa: F401
from .serving import serving
from .tiny import pipelines

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SOFTWARE_GL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="session")
def studio() -> Studio:
    """The atelier with an untrained DreamRec and pipelines of random weights: every class real, every answer quick."""
    made = Studio()
    features = attribute_matrix(made.source.catalog).matrix
    cls, config = MODELS["dreamrec"]
    torch.manual_seed(0)
    sizes = {"d": 16, "layers": 1, "items": "both", "n_features": features.shape[1]}
    vars(made)["recommender"] = cls(config(n_items=len(features) - 1, **sizes), features=features)
    vars(made)["tryon"], vars(made)["text2image"] = pipelines()
    return made


@pytest.fixture(scope="session")
def address(studio: Studio, tmp_path_factory: pytest.TempPathFactory):
    """The address of the page, opened with the settings that users get."""
    with serving(studio, tmp_path_factory.mktemp("page")) as served:
        yield served.url


@pytest.fixture(scope="session")
def launch():
    """Start a Chromium without a window; tests that need it skip where it, or playwright, is not installed."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    path = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if path is None:
        pytest.skip("no chromium for the page's tests: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        yield lambda flags: driver.chromium.launch(executable_path=str(Path(path)), args=flags)


@pytest.fixture(scope="session")
def browser(launch):
    """The browser of nearly all tests."""
    chromium = launch(FLAGS)
    yield chromium
    chromium.close()


@pytest.fixture
def browser_3d(launch):
    """The same with a graphics card in software, for what is drawn in three dimensions."""
    chromium = launch([*(flag for flag in FLAGS if flag != "--disable-gpu"), *SOFTWARE_GL])
    yield chromium
    chromium.close()
