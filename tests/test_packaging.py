"""The files around the code: the container's recipe, the citation."""

import json
import re
import shlex

import yaml

import recsys
from apps import cli
from apps.commands.config import DemoConfig

from .place import ROOT


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, continuation lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_container_runs_as_another_user_than_root():
    names = [name for name, _ in instructions()]
    assert names[0] == "FROM" and not {"ADD", "MAINTAINER"} & set(names)
    users = [value for name, value in instructions() if name == "USER"]
    assert users == ["personagen"] and names.index("USER") < names.index("ENTRYPOINT") < names.index("CMD")
    assert "RUN" not in names[names.index("USER") :]  # nothing is installed where that user could change it
    assert any("useradd" in value and users[0] in value for name, value in instructions() if name == "RUN")


def test_the_container_holds_what_is_installed_and_nothing_else():
    copied = [part for name, value in instructions() if name == "COPY" for part in shlex.split(value)[:-1]]
    assert all((ROOT / part).exists() for part in copied)
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignore and sorted(line[1:] for line in ignore if line.startswith("!")) == sorted(copied)
    install = next(value for name, value in instructions() if "pip install" in value)
    assert "-c /source/constraints.txt" in install and "[all]" in install


def test_the_commands_of_the_container_are_accepted():
    values = dict(instructions())
    assert json.loads(values["ENTRYPOINT"]) == ["personagen"]
    cli.parse(json.loads(values["CMD"]))
    assert int(values["EXPOSE"]) == DemoConfig().port
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    shown = re.findall(r"docker run .* personagen ((?:demo|recommend) .*)$", text, re.MULTILINE)
    assert len(shown) == 2
    for line in shown:
        cli.parse(shlex.split(line))


def test_the_citation_follows_its_schema():
    """Citation File Format 1.2.0: what must be there, and only keys that it knows."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0" and cited["type"] == "software"
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    optional = {"type", "version", "license", "keywords", "abstract"}
    assert set(cited) <= {"cff-version", "message", "title", "authors", *optional}
    assert all(set(author) == {"name"} for author in cited["authors"])  # an entity; people have given-names
    assert cited["version"] == recsys.__version__ and cited["license"] == "Apache-2.0"
