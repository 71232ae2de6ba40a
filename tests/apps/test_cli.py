"""The command line: speed of --help, exit codes, one-line errors, YAML layers."""

import re
import subprocess
import sys

import pytest

from apps import cli
from apps.commands.config import DoctorConfig, StyleConfig
from recsys.errors import ConfigError, DataError, ModelError, ResourceError
from tests.place import ROOT


def test_help_answers_at_once():
    """What takes seconds is not even imported: one fresh process is asked for the help of every command."""
    code = (
        "import sys\nfrom apps import cli\n"
        "codes = {cli.main([*words, '--help']) for words in [(), *cli.COMMANDS]}\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'gradio', 'numpy', 'PIL'} & set(sys.modules)\n"
        "print('loaded', len(sys.modules), *sorted(heavy))\nsys.exit(max(codes))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: personagen") == 1 + len(cli.COMMANDS)
    count, *heavy = done.stdout.splitlines()[-1].split()[1:]
    assert not heavy and int(count) < 600


@pytest.mark.parametrize("words", list(cli.COMMANDS))
def test_every_command_has_help(words, capsys):
    assert cli.main([*words, "--help"]) == 0
    assert "usage: personagen" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "command"),
        (["frob"], "frob"),
        (["recommend"], "train"),
        (["recommend", "frob"], "frob"),
        (["style", "--loooks", "3"], "--loooks"),
        (["style", "--looks", "many"], "many"),
        (["style", "--config", "no/such.yaml"], "no/such.yaml"),
        (["tryon", "wear"], "person"),
    ],
)
def test_bad_configuration_is_one_line_and_exit_2(arguments, says, capsys):
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("personagen: ") and says in error
    assert "--help" in error  # the remedy


def test_unknown_keys_of_a_file_are_refused(tmp_path, capsys):
    file = tmp_path / "style.yaml"
    file.write_text("looks: 2\nloks: 3\n", encoding="utf-8")
    assert cli.main(["style", "--config", str(file)]) == 2
    assert "loks" in capsys.readouterr().err


def test_files_layer_and_flags_win(tmp_path):
    (tmp_path / "a.yaml").write_text("looks: 2\nseed: 5\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("seed: 6\n", encoding="utf-8")
    words, settings = cli.parse(
        ["style", "--config", str(tmp_path / "a.yaml"), "--config", str(tmp_path / "b.yaml"), "--user", "7"]
    )
    assert words == ("style",)
    assert settings == StyleConfig(looks=2, seed=6, user="7")


def test_dotted_overrides_reach_into_settings():
    _, settings = cli.parse(["recommend", "train", "--settings.dim", "16", "--train.epochs", "2"])
    assert settings.settings == {"dim": 16} and settings.train == {"epochs": 2}


@pytest.mark.parametrize("words", [" ".join(words) for words in cli.COMMANDS])
def test_an_unknown_key_of_a_file_is_named_by_every_command(words, tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("learning_rat: 0.1\n")
    assert cli.main([*words.split(), "--config", str(tmp_path / "a.yaml")]) == 2
    assert "learning_rat" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("sign", ["=", " "])
def test_files_in_other_encodings_are_read(encoding, sign, tmp_path):
    (tmp_path / "a.yaml").write_text("user: Zoë\nlooks: 2\nseed: 5\n", encoding=encoding)
    assert cli.parse(["style", *f"--config{sign}{tmp_path / 'a.yaml'}".split(" ")])[1].user == "Zoë"


def test_print_config_can_be_read_back(tmp_path, capsys):
    assert cli.main(["style", "--looks", "3", "--print_config"]) == 0
    file = tmp_path / "printed.yaml"
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    assert cli.parse(["style", "--config", str(file)])[1] == StyleConfig(looks=3)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("steps = 0; allowed are 1 to 1000"), 2),
        (DataError("user 'x' is unknown"), 3),
        (FileNotFoundError(2, "No such file", "a.csv"), 3),
        (ModelError("no weights"), 4),
        (ResourceError("no memory"), 5),
        (MemoryError(), 5),
        (OSError(28, "No space left on device"), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_exit_codes(error, code, monkeypatch, capsys):
    def fail(settings):
        raise error

    monkeypatch.setitem(cli.COMMANDS, ("doctor",), ("help", "apps.commands.config:DoctorConfig", "x:y"))
    monkeypatch.setattr(cli, "_load", lambda target: fail if target == "x:y" else DoctorConfig)
    assert cli.main(["doctor"]) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("personagen: ")


def test_a_bug_keeps_its_traceback(monkeypatch):
    def fail(settings):
        raise KeyError("bug")

    monkeypatch.setitem(cli.COMMANDS, ("doctor",), ("help", "apps.commands.config:DoctorConfig", "x:y"))
    monkeypatch.setattr(cli, "_load", lambda target: fail if target == "x:y" else DoctorConfig)
    with pytest.raises(KeyError):
        cli.main(["doctor"])


def test_output_into_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m apps.cli style --print_config | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "Traceback" not in done.stderr


LEAN = """import sys
sys.modules.update(dict.fromkeys(("diffusers", "transformers", "tokenizers", "peft", "gradio")))  # as if not installed
from apps import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def lean(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", LEAN, *words], capture_output=True, text=True, cwd=ROOT)


def test_recommenders_need_no_extra(tmp_path):
    data, out = tmp_path / "clicks.csv", str(tmp_path / "shop")
    rows = [f"u{user},i{(user + step) % 9},{step}" for user in range(12) for step in range(5)]
    data.write_text("\n".join(["user,item,timestamp", *rows]) + "\n", encoding="utf-8")
    trained = lean("recommend", "train", "--model", "markov", "--data", str(data), "--out", out)
    assert trained.returncode == 0, trained.stderr
    ranked = lean("recommend", "rank", "--recommender", out, "--data", str(data), "--k", "2")
    assert ranked.returncode == 0 and ranked.stdout.startswith("user,rank,item,score"), ranked.stderr


@pytest.mark.parametrize(
    ("words", "package", "extra"),
    [
        (["style"], "diffusers", "pictures"),
        (["tryon", "wear", "--person", "a.png", "--garment", "b.png"], "diffusers", "pictures"),
        (["demo"], "diffusers", "page"),
    ],
)
def test_a_missing_extra_is_one_line_with_the_remedy(words, package, extra):
    done = lean(*words)
    assert done.returncode == 2
    command = " ".join(word for word in words[:2] if word != "--person")
    assert done.stderr == (
        f"personagen: {command} needs {package}, which is not installed; run: pip install 'personagen[{extra}]'\n"
    )


@pytest.mark.parametrize(
    "words", [["pretrain", "configs/pretrain/vae.yaml"], ["style", "--config", "configs/style.yaml"]]
)
def test_configurations_are_found_from_any_folder(words, tmp_path, monkeypatch):
    at_home = cli.parse(words)
    monkeypatch.chdir(tmp_path)
    assert cli.parse(words) == at_home


@pytest.mark.parametrize(
    ("text", "users"),
    [
        ("[007]", ["007"]),
        ("[7, 0x10]", [7, "0x10"]),
        ('["007", 1:30]', ["007", "1:30"]),
        ("[2026-01-31]", ["2026-01-31"]),
    ],
)
def test_ids_in_a_list_stay_as_they_are_written(text, users, tmp_path):
    assert cli.parse(["recommend", "rank", "--users", text])[1].users == users
    (tmp_path / "rank.yaml").write_text(f"users: {text}\nk: 5\n")
    settings = cli.parse(["recommend", "rank", "--config", str(tmp_path / "rank.yaml")])[1]
    assert settings.users == users and settings.k == 5


def test_numbers_of_settings_are_still_numbers():
    flags = ["--settings.rate", "1e-3", "--settings.sizes", "[1, 2.5, .5, 1_000, -3]", "--settings.on", "true"]
    found = cli.parse(["recommend", "train", *flags])[1].settings
    assert found == {"rate": 0.001, "sizes": [1, 2.5, 0.5, 1000, -3], "on": True}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed: 1\nseed: 2\n", "has the key seed twice"),
        ("stylist:\n  pool: 3\n  pool: 4\n", "has the key pool twice"),
        ("seed: &a [*a]\n", r"refers to a part of itself, \*a"),
        ("a: &a [x, x]\nb: &b [*a, *a]\n", "refers to a part of itself"),
        ("seed: " + "[" * 2_000 + "]" * 2_000, "more than 20 levels"),
        ("seed: \0", "zero bytes"),
        ("seed: 1\n\tsteps: 2\n", r"no YAML at line 2, column 1: .*indent with spaces"),
        ("seed: 1\n---\nseed: 2\n", "no YAML at line 2, column 1: .*another document"),
        ("title: a: b\n", "no YAML at line 1, column 9"),
        ("seed: !!python/object/apply:os.system [ls]\n", "has the tag .*python.* at line 1; leave it out"),
        ("seed: !mine 3\n", "has the tag !mine at line 1"),
    ],
)
def test_a_configuration_that_would_be_misread_is_one_line(text, says, tmp_path, capsys):
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    assert cli.main(["style", "--config", str(tmp_path / "a.yaml")]) in (2, 3)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(tmp_path / "a.yaml") in said and re.search(says, said)


def test_an_error_is_printed_in_one_line_that_no_terminal_obeys(tmp_path, capsys):
    assert cli.main(["recommend", "rank", "--data", f"{tmp_path}/a\x1b[2Jb.csv"]) != 0
    assert "\x1b" not in capsys.readouterr().err
