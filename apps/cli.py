"""The command `personagen`: parse, dispatch, and turn errors and signals into one line and an exit code.

Nothing heavy is imported before the command is known, so that `--help` answers at once. Exit codes: 0 done,
1 a bug (with a traceback), 2 configuration, 3 data, 4 model, 5 resources, 130 and 143 stopped by SIGINT and SIGTERM.
"""

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from personagen import __version__
from personagen.devices import compiler_failed, is_compiler_error, is_out_of_memory, out_of_memory
from recsys.errors import shown
from recsys.text import encoding_of, is_file, read_text

from . import yaml_values
from .extras import missing
from .signals import Stopped, raise_on_sigterm

# command words -> (help, frozen dataclass of its settings, function that takes it and returns an exit code)
COMMANDS: dict[tuple[str, ...], tuple[str, str, str]] = {
    ("style",): (
        "the main job: from a user's history to pictures made for that user",
        "apps.commands.config:StyleConfig",
        "apps.commands.style:run",
    ),
    ("recommend", "train"): (
        "train a recommender on interactions",
        "apps.commands.config:TrainConfig",
        "apps.commands.recommend:train",
    ),
    ("recommend", "update"): (
        "let a recommender take in new interactions",
        "apps.commands.config:UpdateConfig",
        "apps.commands.update:update",
    ),
    ("recommend", "rank"): (
        "rank the next items of everyone, or of some users",
        "apps.commands.config:RankConfig",
        "apps.commands.rank:rank",
    ),
    ("recommend", "index"): (
        "index the items of a recommender, so that large catalogues are ranked faster",
        "apps.commands.config:IndexConfig",
        "apps.commands.index:index",
    ),
    ("recommend", "evaluate"): (
        "measure a recommender on held-out items",
        "apps.commands.config:EvaluateConfig",
        "apps.commands.recommend:evaluate",
    ),
    ("recommend", "compare"): (
        "compare two recommenders case by case",
        "apps.commands.config:CompareConfig",
        "apps.commands.recommend:compare",
    ),
    ("pretrain",): (
        "train the embedded image model",
        "personagen.pretrain:PretrainConfig",
        "apps.commands.pretrain:run",
    ),
    ("tryon", "wear"): (
        "put a garment or an outfit on a person",
        "apps.commands.config:WearConfig",
        "apps.commands.wear:run",
    ),
    ("tryon", "turn"): (
        "make a dressed person a figure that can be turned",
        "apps.commands.turn_config:TurnConfig",
        "apps.commands.turn:run",
    ),
    ("tryon", "mask"): ("find what to repaint in a photo", "apps.commands.config:MaskConfig", "apps.commands.mask:run"),
    ("tryon", "train"): (
        "train try-on on pairs of person and garment",
        "personagen.pretrain.pairs_config:TryOnTrainConfig",
        "apps.commands.tryon:train",
    ),
    ("tryon", "evaluate"): (
        "measure try-on on pairs",
        "personagen.tryon.config:TryOnEvaluateConfig",
        "apps.commands.tryon:evaluate",
    ),
    ("subject", "train"): (
        "teach the image model a subject from a few pictures",
        "personagen.subject:SubjectConfig",
        "apps.commands.subject:train",
    ),
    ("subject", "train-many"): (
        "teach it a subject a user, of many users",
        "apps.commands.subject_config:TrainManyConfig",
        "apps.batch.subjects:train_many",
    ),
    ("subject", "generate"): (
        "paint with subjects",
        "apps.commands.subject_config:GenerateConfig",
        "apps.commands.subject:generate",
    ),
    ("subject", "export"): (
        "write adapters for the web UIs or diffusers, merged if several",
        "apps.commands.subject_config:ExportConfig",
        "apps.commands.subject:export",
    ),
    ("subject", "doctor"): (
        "say of every file in a folder whether it can be trained on",
        "apps.commands.subject_config:SubjectDoctorConfig",
        "apps.commands.subject:doctor",
    ),
    ("subject", "evaluate"): (
        "measure whether a subject is recognised in new pictures",
        "apps.commands.subject_config:SubjectEvaluateConfig",
        "apps.commands.subject:evaluate",
    ),
    ("demo",): ("open the page", "apps.commands.config:DemoConfig", "apps.page.app:run"),
    ("serve",): (
        "answer over HTTP: rankings at once, pictures and trainings as jobs",
        "apps.commands.config:ServeConfig",
        "apps.serve.run:run",
    ),
    ("forget",): (
        "list and remove what was made of one user",
        "apps.commands.config:ForgetConfig",
        "apps.commands.forget:run",
    ),
    ("doctor",): (
        "say what this machine and installation can do",
        "apps.commands.config:DoctorConfig",
        "apps.commands.doctor:run",
    ),
}
SUMMARY = "Personalised content generation: from what a person did to what that person sees."
GROUPS = {
    "recommend": "train, update, index, rank, evaluate and compare recommenders",
    "tryon": "virtual try-on",
    "subject": "teach the image model a subject, and paint it (DreamBooth, LoRA)",
}
FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (*FULL, errno.EROFS, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)
FULL_IN_RUST = f"(os error {errno.ENOSPC})"
"""How safetensors and tokenizers say it."""
LONGEST = 2_000
"""Letters of an error's line."""
CONFIGS = (Path(__file__).parent / "configs", Path(__file__).parents[1] / "configs")
"""Where the configurations lie: in the wheel, and in a checkout."""
TAKES_CONFIG = {
    ("pretrain",),
    ("recommend", "train"),
    ("subject", "train"),
}  # a first bare word after these is the configuration file


def main(argv: Sequence[str] | None = None) -> int:
    """Run `personagen` with `argv` (default: the process's) and return the exit code; never raises on bad input."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    raise_on_sigterm()
    try:
        return _dispatch(arguments)
    except SystemExit as end:  # argparse leaves this way after --help and --print_config
        return end.code if isinstance(end.code, int) else 0
    except argparse.ArgumentError as error:
        return _complain(2, f"{_one_line(str(error))}. See: {_help_for(arguments)}")
    except KeyboardInterrupt:
        return _complain(130, "stopped by SIGINT")
    except Stopped as stop:
        return _complain(stop.exit_code, str(stop))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `personagen ... | head` is no error
        return 0
    except ModuleNotFoundError as error:
        lacking = missing(error, " ".join(_words(arguments)))
        if lacking is None:
            raise
        return _complain(lacking.exit_code, str(lacking))
    except Exception as error:
        if is_out_of_memory(error) and _takes_dtype(arguments):
            error = out_of_memory(error)
        elif is_compiler_error(error):
            error = compiler_failed(error)
        code = exit_code(error)
        if code is None:
            raise
        remedy = "; free disk space, or write elsewhere" if getattr(error, "errno", None) in FULL else ""
        return _complain(code, (_one_line(str(error)) or type(error).__name__) + remedy)


def exit_code(error: BaseException) -> int | None:
    """Give the exit code of an error a user can act on, or None for a bug, which deserves its traceback."""
    own = getattr(error, "exit_code", None)
    if isinstance(own, int):
        return own
    if is_out_of_memory(error):
        return 5
    if (isinstance(error, OSError) and error.errno in REFUSED) or FULL_IN_RUST in str(error):
        return 5
    if isinstance(error, FileNotFoundError | FileExistsError | IsADirectoryError | NotADirectoryError):
        return 3
    return None


def build_parser() -> ArgumentParser:
    """Build the parser that knows the commands by name and help, for `--help` and words that are no command."""
    parser = ArgumentParser(prog="personagen", exit_on_error=False, description=SUMMARY)
    parser.add_argument("--version", action="version", version=f"personagen {__version__}")
    commands = parser.add_subcommands(required=True, dest="command", metavar="COMMAND", title="commands")
    groups: dict[str, Any] = {}
    for path, (text, _, _) in COMMANDS.items():
        leaf = ArgumentParser(exit_on_error=False)
        if len(path) == 1:
            commands.add_subcommand(path[0], leaf, help=text)
            continue
        if path[0] not in groups:
            group = ArgumentParser(exit_on_error=False, description=GROUPS[path[0]])
            commands.add_subcommand(path[0], group, help=GROUPS[path[0]])
            groups[path[0]] = group.add_subcommands(required=True, dest="action", metavar="ACTION", title="actions")
        groups[path[0]].add_subcommand(path[1], leaf, help=text)
    return parser


def parse(arguments: Sequence[str]) -> tuple[tuple[str, ...], Any]:
    """Parse a command line into the command's words and its settings, a frozen dataclass.

    Raises:
        argparse.ArgumentError: unknown commands, options, keys of a YAML file, or values of a wrong type.
    """
    words = _words(arguments)
    if words not in COMMANDS:
        build_parser().parse_args(list(arguments))
        raise argparse.ArgumentError(None, f"unknown command {' '.join(words) or '(none)'!r}")
    text, target, _ = COMMANDS[words]
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    yaml_values.use()
    parser = _leaf(target, text, prog=" ".join(["personagen", *words]))
    space: Namespace = parser.instantiate(parser.parse_args(_spell_out(words, list(arguments))))
    config = _load(target)
    return words, config(**{field.name: space[field.name] for field in fields(config)})


def _dispatch(arguments: list[str]) -> int:
    words, settings = parse(arguments)
    return _load(COMMANDS[words][2])(settings)


def _leaf(config: str, text: str, *, prog: str) -> ArgumentParser:
    leaf = ArgumentParser(prog=prog, exit_on_error=False, description=text[0].upper() + text[1:] + ".")
    leaf.add_argument("--config", action="config", help="YAML file with any of the settings below; repeat to layer")
    leaf.add_class_arguments(_load(config), fail_untyped=True)
    return leaf


def _words(arguments: Sequence[str]) -> tuple[str, ...]:
    """Find the command's words at the start of the arguments: one, or two for a command of a group."""
    words = tuple(arguments[:2]) if arguments and arguments[0] in GROUPS else tuple(arguments[:1])
    return tuple(word for word in words if not word.startswith("-"))


def _help_for(arguments: Sequence[str]) -> str:
    words = _words(arguments)
    known = words if words in COMMANDS else tuple(word for word in words[:1] if word in GROUPS)
    return " ".join(["personagen", *known, "--help"])


def _takes_dtype(arguments: Sequence[str]) -> bool:
    """Tell whether the command has the switches that `out_of_memory` names."""
    words = _words(arguments)
    return words in COMMANDS and any(field.name == "dtype" for field in fields(_load(COMMANDS[words][1])))


def _spell_out(words: tuple[str, ...], arguments: list[str]) -> list[str]:
    """Return what follows the words, with `--config` before a bare file."""
    rest = arguments[len(words) :]
    if words in TAKES_CONFIG and rest and not rest[0].startswith("-"):
        rest = ["--config", *rest]
    if words == ("forget",) and rest and not rest[0].startswith("-"):
        rest = ["--user", *rest]
    for i, word in enumerate(rest):
        before, sign, file = word.rpartition("=")
        if (before if sign else rest[i - 1] if i else "") == "--config":
            rest[i] = before + sign + _yaml(_packaged(file if sign else word))
    return rest


def _packaged(name: str) -> str:
    """Find `configs/...` in the installation where the current folder has none."""
    found = [folder.parent / name for folder in CONFIGS if (folder.parent / name).is_file()]
    return str(found[0]) if Path(name).parts[:1] == ("configs",) and not Path(name).exists() and found else name


def _yaml(file: str) -> str:
    """Check a YAML file; return the text of one that is not in UTF-8, which the parser takes as well, else the file."""
    path = Path(file)
    if not is_file(path):
        return file
    text = read_text(path)
    yaml_values.check(path, text)
    return file if encoding_of(path.read_bytes()[:400]).startswith("utf-8") else text


def _load(target: str) -> Any:
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _complain(code: int, message: str) -> int:
    print(f"personagen: {shown(message, most=LONGEST)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
