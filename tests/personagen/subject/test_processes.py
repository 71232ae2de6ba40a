"""Under torchrun two processes share a step's chunks out and end with the weights of one."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from personagen.subject import SubjectConfig, train_subject
from recsys.checkpoint import load_latest
from tests.personagen.subject import parts as subject_parts
from tests.place import ROOT

RUN = """
import json, sys
from personagen.subject import SubjectConfig, train_subject
steps = train_subject(SubjectConfig(**json.load(open(sys.argv[1]))))
print([step.losses["loss"] for step in steps if step.losses], flush=True)
"""


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    config = SubjectConfig(
        instance_data_dir=str(subject_parts.write_pictures(tmp_path / "pictures", count=3)),
        name="dog",
        output_dir=str(tmp_path / "one"),
        pretrained_model_name_or_path=str(subject_parts.save("sd1", tmp_path / "base")),
        max_train_steps=3,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        num_validation_images=0,
        validation_inference_steps=1,
        device="cpu",
        mixed_precision="no",
    )
    list(train_subject(config))
    both = replace(config, output_dir=str(tmp_path / "two"))
    (tmp_path / "settings.json").write_text(json.dumps(vars(both)))
    (tmp_path / "run.py").write_text(RUN)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29713"]
    done = subprocess.run(
        [*command, str(tmp_path / "run.py"), str(tmp_path / "settings.json")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = load_latest(tmp_path / "one" / "checkpoints"), load_latest(tmp_path / "two" / "checkpoints")
    assert first is not None and second is not None and first.step == second.step == 3
    assert second.state["losses"] == pytest.approx(first.state["losses"], rel=1e-5)
    for name, value in first.tensors["model"].items():
        assert torch.allclose(value, second.tensors["model"][name], rtol=1e-3, atol=1e-5), name
    assert (tmp_path / "two" / "run.json").is_file()
