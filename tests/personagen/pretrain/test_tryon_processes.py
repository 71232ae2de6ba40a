"""Under torchrun two processes share a step's rows out and end with the weights of one, whoever began the run."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from personagen.corpora.pairs import read_pairs, write_pairs_corpus
from personagen.pretrain.pairs_config import TryOnTrainConfig
from personagen.pretrain.tryon_pairs import train_tryon_pairs
from personagen.training.config import LoopConfig
from personagen.tryon.config import BaseConfig
from recsys.checkpoint import load_latest
from recsys.errors import ConfigError
from tests.personagen.pretrain.test_tryon_pairs import settings, viton
from tests.personagen.sd15 import write_base
from tests.place import ROOT

RUN = """
import json, sys
from personagen.pretrain.pairs_config import TryOnTrainConfig
from personagen.pretrain.tryon_pairs import train_tryon_pairs
from personagen.training.config import LoopConfig
from personagen.tryon.config import BaseConfig
given = json.load(open(sys.argv[1]))
nested = {"base": BaseConfig(**given["base"]), "loop": LoopConfig(**given["loop"])}
list(train_tryon_pairs(TryOnTrainConfig(**given | nested)))
"""


def in_two(config: TryOnTrainConfig, folder: Path) -> None:
    (folder / "settings.json").write_text(json.dumps(asdict(config)))
    (folder / "run.py").write_text(RUN)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29714",
         str(folder / "run.py"), str(folder / "settings.json")],
        capture_output=True, text=True, cwd=ROOT, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_two_processes_equal_one_also_when_they_take_a_run_over(tmp_path):
    stock = {"base": str(write_base(tmp_path / "base")), "corpus": str(tmp_path / "corpus")}
    viton(tmp_path / "viton")
    list(write_pairs_corpus(read_pairs(tmp_path / "viton", "viton-hd"), tmp_path / "corpus", size=(64, 64)))
    config = settings(stock, tmp_path / "one", batch_size=3, steps=4, garment_variants=1)
    list(train_tryon_pairs(config))
    run = train_tryon_pairs(replace(config, output_dir=str(tmp_path / "two")))
    for step in run:
        if step.step == 1:
            run.close()  # type: ignore[attr-defined]
            break
    shutil.rmtree(tmp_path / "two" / "latents")  # one process makes them anew while the other one waits
    in_two(replace(config, output_dir=str(tmp_path / "two")), tmp_path)
    first, second = (load_latest(tmp_path / folder / "checkpoints") for folder in ("one", "two"))
    assert first is not None and second is not None and first.step == second.step == 4 and not second.skipped
    gradients, others = first.tensors["optimizer"], second.tensors["optimizer"]
    for name in (name for name in gradients if name.endswith("exp_avg")):
        assert (gradients[name] - others[name]).abs().max() < 1e-3 * gradients[name].abs().max(), name
    for name, value in first.tensors["model"].items():
        off = (value - second.tensors["model"][name]).abs()
        assert off.max() < 2e-4 and off.mean() < 1e-6, name  # AdamW moves a weight by 1e-3 a step at this rate
    assert (tmp_path / "two" / "attention" / "model.safetensors").is_file()
    assert len(list((tmp_path / "two" / "previews").glob("*.png"))) == 2


def test_a_batch_that_cannot_be_shared_out_is_refused(monkeypatch):
    monkeypatch.setattr("personagen.pretrain.tryon_pairs.Processes", lambda: type("Four", (), {"count": 4, "rank": 0}))
    config = TryOnTrainConfig(corpora={"x": 1.0}, base=BaseConfig("x"), loop=LoopConfig(batch_size=2))
    with pytest.raises(ConfigError, match="batch_size 2"):
        next(train_tryon_pairs(config))
