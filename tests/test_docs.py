"""The guides say what is so: commands are accepted, programs run, links lead somewhere, every room has a reference."""

import dataclasses
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import pytest
import yaml

from apps import cli
from recsys.models import MODELS
from recsys.train import TrainConfig

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GUIDES = sorted(path for path in DOCS.rglob("*.md") if path.parent.name != "log")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FREE = ("git", "cd", "pip")


def blocks(path: Path, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(path.read_text(encoding="utf-8")) if language in languages]


def commands() -> list[str]:
    lines = [line for path in GUIDES for text in blocks(path, "bash") for line in text.splitlines()]
    return list(dict.fromkeys(line for line in lines if line.strip()))


def site() -> dict:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def pages(entry) -> list[str]:
    """Flatten the navigation into file names."""
    if isinstance(entry, str):
        return [entry]
    return [name for part in (entry.values() if isinstance(entry, dict) else entry) for name in pages(part)]


@pytest.mark.parametrize("line", commands())
def test_commands_are_accepted(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = shlex.split(line, comments=True)
    if words[0] in FREE:
        return
    if words[0] == "make":
        assert subprocess.run(["make", "-n", *words[1:]], capture_output=True, cwd=ROOT).returncode == 0
        return
    assert words[0].removeprefix(".venv/bin/") == "personagen", f"a guide may show make, personagen and pip, not {line}"
    settings = cli.parse(words[1:])[1]
    config = dict(zip(words, words[1:])).get("--config")
    assert config is None or Path(config).is_file()
    assert settings is not None


@pytest.mark.parametrize("path", [path for path in GUIDES if blocks(path, "python")], ids=lambda path: path.stem)
def test_programs_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in blocks(path, "python"):
        assert "assert " in text, f"a program of {path.name} checks nothing"
        exec(compile(text, path.name, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```|`[^`]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (path.parent / target).resolve().is_file(), f"{path} links to {target}, which is not there"


def test_files_that_guides_name_are_there():
    """`personagen/…`, `configs/…`, `examples/…` in backticks are files of the checkout."""
    for path in GUIDES:
        for name in re.findall(r"`((?:personagen|recsys|apps|configs|examples|benchmarks|docs)/[\w/.-]+)`",
                               path.read_text(encoding="utf-8")):  # fmt: skip
            assert (ROOT / name).exists(), f"{path.name} names {name}, which is not there"


def flags() -> set[str]:
    """All settings of all commands, nested ones with a dot."""
    found = {"help", "config", "print_config", "version", "check"}
    for _, config, _ in cli.COMMANDS.values():
        module, name = config.split(":")
        hints = typing.get_type_hints(getattr(importlib.import_module(module), name))
        for field, hint in hints.items():
            found.add(field)
            for inner in (hint, *typing.get_args(hint)):
                if dataclasses.is_dataclass(inner):
                    found |= {f"{field}.{nested.name}" for nested in dataclasses.fields(inner)}
    found |= {f"train.{field.name}" for field in dataclasses.fields(TrainConfig)}
    return found | {f"settings.{field.name}" for _, config in MODELS.values() for field in dataclasses.fields(config)}


@pytest.mark.parametrize("path", [*GUIDES, ROOT / "README.md"], ids=lambda path: path.name)
def test_flags_that_the_text_names_are_there(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    ours = re.sub(r"`[^`]*(?:pip install|torchrun|OMP_NUM_THREADS)[^`]*`", "", text)
    named = set(re.findall(r"`[^`]*?--(?!index)([a-z_0-9]+(?:\.[a-z_0-9]+)?)", ours))
    assert named <= flags(), f"{path.name} names settings that no command has: {sorted(named - flags())}"


def test_every_page_is_in_the_navigation():
    shown = pages(site()["nav"])
    assert sorted(shown) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def test_the_reference_covers_every_room_and_module():
    text = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    shown = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    for package in ("personagen", "recsys"):
        for path in (ROOT / package).iterdir():
            room = path.suffix == ".py" and not path.stem.startswith("__") or (path / "__init__.py").is_file()
            assert not room or f"{package}.{path.stem}" in shown, f"docs/reference lacks {package}.{path.stem}"
    for name in shown:
        importlib.import_module(name)


def test_the_rooms_of_the_architecture_are_those_of_the_contract():
    """The tables of docs/architecture.md list the layers of pyproject.toml, in their order."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    for package in ("personagen", "recsys"):
        layers = next(c["layers"] for c in contracts if c.get("containers") == [package])
        table = text.split(f"## Rooms of `{package}`")[1].split("##")[0]
        rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")]
        wanted = [sorted(layer.split(" | ")) for layer in layers]
        assert _spread(rows, wanted) == [sorted(row) for row in wanted]


def _spread(rows: list[list[str]], wanted: list[list[str]]) -> list[list[str]]:
    """Cut rows that join several layers into these layers, in order."""
    flat, found = [name for row in rows for name in row], []
    for layer in wanted:
        found.append(sorted(flat[: len(layer)]))
        flat = flat[len(layer) :]
    return found + ([flat] if flat else [])


@pytest.mark.parametrize("script", ["docs/architecture.py", "benchmarks/tables.py"])
def test_generated_parts_are_up_to_date(script):
    done = subprocess.run([sys.executable, str(ROOT / script), "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"run: python {script}\n{done.stderr}"


def test_a_day_of_the_log_is_listed():
    index = (DOCS / "log" / "README.md").read_text(encoding="utf-8")
    for path in (DOCS / "log").glob("20*.md"):
        for title in re.findall(r"^## (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert f"[{title}]({path.name}" in index, f"docs/log/README.md does not list {title}"


def test_tests_that_guides_name_are_there():
    named = [found for path in GUIDES for found in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", path.read_text("utf-8"))]
    assert len(named) >= 12
    for file, name in named:
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"there is no {name} in {file}"
