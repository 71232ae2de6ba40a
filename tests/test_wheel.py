"""The installed wheel works, not only the checkout: built, installed alone, asked for its command and weights."""

import email
import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import recsys

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The bin folder of an environment that holds the wheel, and sees this one's packages for everything else."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: pip install -e '.[test]'")
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    wheels = list(folder.glob("personagen-*.whl"))
    assert len(wheels) == 1
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = folder / "env" / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheels[0]),
    )
    site = next((folder / "env" / "lib").glob("python*/site-packages"))
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return python.parent


def run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_command_is_there(installed, tmp_path):
    text = run(str(installed / "personagen"), "--help", cwd=tmp_path)
    for command in ("style", "recommend", "pretrain", "tryon", "demo", "doctor"):
        assert command in text


def test_the_wheel_holds_the_three_packages_with_their_weights_and_nothing_else(installed):
    with zipfile.ZipFile(next(installed.parents[1].glob("*.whl"))) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {"apps", "personagen", "recsys"} < tops and len(tops) == 4  # and the metadata
    weights = [name for name in names if name.endswith(".safetensors")]
    assert len(weights) == 10 and "personagen/models/parser/model.safetensors" in weights
    configs = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml"))
    assert sorted(name.removeprefix("apps/") for name in names if name.startswith("apps/configs/")) == configs
    assert {f"{package}/py.typed" for package in ("apps", "personagen", "recsys")} <= set(names)


def test_the_metadata_say_who_and_what(installed):
    with zipfile.ZipFile(next(installed.parents[1].glob("*.whl"))) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        written = email.message_from_string(archive.read(name).decode())
    assert written["Version"] == recsys.__version__ and written["License-Expression"] == "Apache-2.0"
    assert written["Author"] and written["Keywords"] and "Typing :: Typed" in written.get_all("Classifier", [])
    assert {"pictures", "page", "all"} <= set(written.get_all("Provides-Extra", []))


def test_the_configurations_are_found_in_any_folder(installed, tmp_path):
    words = ("pretrain", "configs/pretrain/vae.yaml", "--print_config")
    assert "stage: vae" in run(str(installed / "personagen"), *words, cwd=tmp_path)
    assert "stage: vae" in run(str(installed / "python"), "-m", "personagen", *words, cwd=tmp_path)


def test_it_paints_without_the_checkout(installed, tmp_path):
    """Catalogue, recommender, text encoder, networks and fonts of the sheet: what the main job reads was installed."""
    run(str(installed / "personagen"), "style", "--looks", "1", "--scenes", "1", "--steps", "1", cwd=tmp_path)
    assert len(list((tmp_path / "looks").glob("*.png"))) == 3  # with the sheet


def test_packages_and_weights_come_from_the_wheel(installed, tmp_path):
    code = (
        "import json, apps, personagen, recsys; from personagen.embedded import missing_files;"
        "print(json.dumps([[p.__file__ for p in (apps, personagen, recsys)],"
        " missing_files('embedded', 'text2image') + missing_files('embedded', 'tryon')]))"
    )
    files, missing = json.loads(run(str(installed / "python"), "-c", code, cwd=tmp_path))
    assert all(file.startswith(str(installed.parent)) for file in files)
    assert missing == []
