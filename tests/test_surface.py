"""What the packages offer at their top: lazily, with one version, and by `python -m`."""

import ast
import importlib
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest

import personagen
import recsys

from .place import ROOT

PACKAGES = (personagen, recsys)


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_name_is_there_and_listed(package):
    assert package.__all__ == sorted(set(package.__all__))
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is getattr(package, name)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        package.nothing  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_type_checkers_see_the_same_names_from_the_same_homes(package):
    """The imports under TYPE_CHECKING, which run nowhere, name what is given at run time."""
    tree = ast.parse((ROOT / package.__name__ / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    names = []
    for node in block.body:
        assert isinstance(node, ast.ImportFrom) and node.level == 1
        home = importlib.import_module(".".join(filter(None, (package.__name__, node.module))))
        for alias in node.names:
            names.append(alias.name)
            assert getattr(home, alias.name) is getattr(package, alias.name)
    assert sorted([*names, "__version__"]) == package.__all__


@pytest.mark.parametrize("package", ["personagen", "recsys"])
def test_importing_a_package_imports_nothing_heavy(package):
    """Neither torch nor numpy, nor any module of the package but what makes its names lazy."""
    done = run("-c", f"import sys, {package}; print(*sorted(sys.modules))")
    loaded = done.stdout.split()
    assert not {"torch", "numpy", "PIL", "diffusers", "transformers", "gradio"} & set(loaded), done.stderr
    own = {name for name in loaded if name.split(".")[0] in ("apps", "personagen", "recsys")}
    assert own <= {"personagen", "recsys", "recsys.lazy"}


def test_there_is_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "recsys/__init__.py"
    assert personagen.__version__ == recsys.__version__ == metadata.version("personagen")


def test_the_package_is_a_command():
    for words in (["--version"], ["recommend", "train", "--help"]):
        done = run("-m", "personagen", *words)
        assert done.returncode == 0 and "personagen" in done.stdout
    done = run("-m", "personagen", "nothing")
    assert done.returncode == 2 and done.stderr.startswith("personagen: ")
