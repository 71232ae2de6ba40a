"""Every YAML is dry-run: it opens with the command that runs it, and that command accepts all of it."""

import shlex
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from apps import cli

ROOT = Path(__file__).parents[1]
FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.yaml"))


def command_of(file: Path) -> list[str]:
    """The words after `# personagen` in the first line."""
    first = (ROOT / file).read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# personagen "), f"{file} must open with the command that runs it, not {first!r}"
    return shlex.split(first.removeprefix("# personagen "))


def test_there_are_configurations():
    assert FILES


def holds(found, written) -> bool:
    """Tell whether settings hold every value that a file gives."""
    if isinstance(written, dict):
        return all(name in found and holds(found[name], value) for name, value in written.items())
    if isinstance(written, list):
        return len(found) == len(written) and all(map(holds, found, written))
    return found == written


@pytest.mark.parametrize("file", FILES, ids=str)
def test_the_first_line_runs_the_file(file, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = command_of(file)
    assert str(file) in words, f"the command in {file} names another file"
    _, settings = cli.parse(words)
    written = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    assert written and holds(asdict(settings), written)


@pytest.mark.parametrize("file", [file for file in FILES if file.parent.name == "recsys"], ids=str)
def test_recommender_settings_fit_their_model(file, monkeypatch):
    from apps.checked import checked
    from apps.commands.recommend import settings_for
    from recsys.build import build, trainable
    from recsys.data.splits import leave_one_out
    from recsys.train import TrainConfig

    monkeypatch.chdir(ROOT)
    settings = cli.parse(command_of(file))[1]
    split = leave_one_out([], 5)
    features = torch.ones(6, 3) if settings.settings.get("items", "id") != "id" else None
    build(settings.model, split, settings_for(settings.model, settings.settings, split), features=features)
    if trainable(settings.model):
        checked(TrainConfig, settings.train, "train")


@pytest.mark.parametrize("file", [file for file in FILES if file.parent.name == "pretrain"], ids=str)
def test_pretraining_settings_are_allowed(file, monkeypatch):
    from personagen.pretrain import check_config

    monkeypatch.chdir(ROOT)
    check_config(cli.parse(command_of(file))[1])
