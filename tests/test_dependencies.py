"""What the packages import is what pyproject.toml declares: nothing is there only because another library needs it."""

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("personagen", "recsys", "apps")
DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml", "faiss": "faiss-cpu"}
"""Distributions that are called otherwise than what is imported from them."""
EXTRAS = ("pictures", "page", "serve", "scale", "search")
"""What `all` installs."""
OPTIONAL = {"mediapipe"}
"""Imported where it is installed; the error that is raised otherwise says how to install it."""


def imported(folder: Path) -> Iterator[str]:
    """Yield the top-level modules that are imported under `folder`, in functions as well."""
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


def distributions(*folders: str) -> set[str]:
    modules = {name for folder in folders for name in imported(ROOT / folder)}
    own = {path.stem for path in ROOT.iterdir()} | {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    foreign = modules - set(sys.stdlib_module_names) - own - OPTIONAL
    return {DISTRIBUTIONS.get(name, name).lower().replace("_", "-") for name in foreign}


@pytest.fixture(scope="module")
def declared() -> dict[str, set[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {name: {re.split(r"[\[<>=!~ ]", line)[0].lower() for line in lines} for name, lines in groups.items()}


def test_what_the_packages_import_is_declared_and_nothing_else(declared):
    own = set().union(*(declared[name] for name in ("", *EXTRAS))) - {"personagen"}
    assert distributions(*PACKAGES) == own


def test_recommenders_need_no_extra(declared):
    said = declared["search"] | {"usearch"}  # a search and an index say how to get what they need
    assert distributions("recsys") - said <= declared[""]
    assert not {"diffusers", "transformers", "peft", "gradio"} & declared[""]


def test_all_is_everything_that_the_packages_use():
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    reached, todo = set(), ["all"]
    while todo:
        reached.add(name := todo.pop())
        todo += [extra for line in lines[name] for extra in re.findall(r"personagen\[([\w,]+)\]", line)
                 for extra in extra.split(",")]  # fmt: skip
    assert reached == {*EXTRAS, "all"}


def test_versions_are_floors_that_the_exact_ones_satisfy():
    """A ceiling is for what a test has shown not to work; there is none so far."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    exact = {canonicalize_name(name): version for name, version in pins}
    extras = [line for name in EXTRAS for line in project["optional-dependencies"][name]]
    for line in [*project["dependencies"], *extras]:
        wanted = Requirement(line)
        if wanted.name != "personagen":
            assert [part.operator for part in wanted.specifier] == [">="], line
            assert exact[canonicalize_name(wanted.name)] in wanted.specifier


def test_the_command_line_knows_what_each_extra_brings(declared):
    from apps.extras import EXTRAS as brings

    for name in EXTRAS:
        assert {package.replace("_", "-") for package, extra in brings.items() if extra == name} == declared[name] - {
            "personagen"
        }


def test_what_tests_and_benchmarks_import_is_declared_in_an_extra(declared):
    assert distributions("tests", "benchmarks") <= set().union(*declared.values())


def test_the_stubs_name_what_diffusers_has():
    for stub in sorted((ROOT / "typings").rglob("*.pyi")):
        parts = stub.relative_to(ROOT / "typings").with_suffix("").parts
        module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
        for node in ast.parse(stub.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                found = getattr(module, node.name)
                methods = [part.name for part in getattr(node, "body", ()) if isinstance(part, ast.FunctionDef)]
                absent = [name for name in methods if name != "__getattr__" and not hasattr(found, name)]
                assert not absent or node.name == "SchedulerMixin", node.name  # which stands for any scheduler
