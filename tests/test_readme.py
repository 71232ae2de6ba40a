"""Every code block of the README is executed, or dry-run where it would train or install."""

import csv
import io
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from apps import cli
from personagen.embedded import missing_files
from personagen.styling.sources import Folder
from personagen.vocabulary import KINDS

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = ("", "bash", "sh", "shell", "console")
FREE = ("git", "cd", "#")  # not ours to run


def blocks(document: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))


def commands() -> list[str]:
    """Every line of a shell block, continuation lines joined, without its comment."""
    lines = []
    for document in DOCUMENTS:
        for language, text in blocks(document):
            if language in SHELL and re.search(r"^(personagen|make|git|\$ )", text, re.MULTILINE):
                lines += text.replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ").strip() for line in lines if line.strip()]


def test_there_are_commands():
    assert any(line.startswith("make run") for line in commands())


@pytest.mark.parametrize("line", commands())
def test_commands_are_accepted(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = shlex.split(line, comments=True)
    if not words or words[0] in FREE:
        return
    if words[0] == "make":
        done = subprocess.run(["make", "-n", *words[1:]], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return
    assert words[0] == "personagen", f"the README may show make, personagen and git, not {words[0]}"
    if {"--help", "--version"} & set(words):
        assert cli.main(words[1:]) == 0
    else:
        cli.parse(words[1:])


@pytest.mark.slow
@pytest.mark.parametrize(
    "code", [text for name in DOCUMENTS for language, text in blocks(name) if language == "python"]
)
def test_programs_run(code, tmp_path, monkeypatch):
    assert "assert " in code, "a program of the README checks nothing"
    program = compile(code, "README.md", "exec")
    if missing_files("embedded", "text2image") or missing_files("embedded", "tryon"):
        pytest.skip("the embedded weights are not here: clone the repository again")
    monkeypatch.chdir(tmp_path)
    exec(program, {"__name__": "__main__"})


def test_yaml_and_json_blocks_can_be_read():
    import yaml

    for document in DOCUMENTS:
        for language, text in blocks(document):
            if language in ("yaml", "json"):
                assert yaml.safe_load(text) is not None


def test_the_sample_rows_can_be_read(tmp_path):
    """The README's interactions and catalogue are read as files, and belong together."""
    clicks, garments = (text for language, text in blocks("README.md") if language == "csv")
    (tmp_path / "clicks.csv").write_text(clicks, encoding="utf-8")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "garments.csv").write_text(garments, encoding="utf-8")
    for row in csv.DictReader(io.StringIO(garments)):
        Image.new("RGB", (32, 48), "green").save(tmp_path / "shop" / row["file"])
    source = Folder(tmp_path / "clicks.csv", tmp_path / "shop")
    assert source.users() == ["anna", "ben"]
    assert [source.catalog.names[item - 1] for item in source.history("anna")] == ["tee-red", "jeans-blue"]
    words = [source.catalog.words(item) for item in range(1, len(source.catalog) + 1)]
    assert {one["kind"] for one in words} <= set(KINDS)
    assert words[source.catalog.names.index("jacket-green")]["colour"] == "green"  # measured


def test_it_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 900 and len(text.splitlines()) <= 150


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_pictures_lead_somewhere(document):
    text = re.sub(r"```.*?```", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (ROOT / target).exists(), f"{document} links to {target}, which is not there"
