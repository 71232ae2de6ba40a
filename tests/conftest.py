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

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    """Give every test the same global random state, whatever ran before it."""
    torch.manual_seed(0)
