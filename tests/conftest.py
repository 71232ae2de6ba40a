import os
from pathlib import Path

os.environ.update(
    PERSONAGEN_DATA=os.environ.get("PERSONAGEN_DATA")
    or str(Path(__file__).resolve().parents[2] / "shared" / "data"),  # tests that need research data skip without
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    GRADIO_ANALYTICS_ENABLED="False",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    CUDA_VISIBLE_DEVICES="",  # results are compared bit by bit: the CPU everywhere
)

import functools

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Keep the tests of a file in one process, and those of the page in one: they share fixtures that cost seconds."""
    for item in items:
        name = item.path.parent.name if item.path.parent.name == "page" else str(item.path)
        item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture(autouse=True)
def _seeded():
    """Give every test the same global random state, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _silhouettes_are_fitted_once():
    """Fit the cut of a silhouette once in a run: many tests dress the same garments, for half a CPU-second each."""
    from personagen.warping import cutout, garment_shape, lay

    @functools.cache
    def fitted(data: bytes, shape: tuple[int, int], kind: str):
        return garment_shape.cut_of(np.frombuffer(data, bool).reshape(shape), kind)

    with pytest.MonkeyPatch.context() as patch:
        for module in (cutout, lay):
            patch.setattr(module, "cut_of", lambda cloth, kind: fitted(cloth.tobytes(), cloth.shape, kind))
        yield
