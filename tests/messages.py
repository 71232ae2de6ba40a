"""Collect the messages of our errors out of the source, with what they name: options, commands, files, settings."""

import ast
from dataclasses import dataclass
from pathlib import Path

from tests.place import ROOT

ERRORS = ("ConfigError", "DataError", "ModelError", "ResourceError")
PACKAGES = ("recsys", "personagen", "apps")


@dataclass(frozen=True)
class Message:
    """The text of an error, with {} for what is filled in, and where it is raised."""

    text: str
    place: str


def messages() -> list[Message]:
    """List the message of every error of ours that the packages make."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            constants = {
                target.id: text_of(node.value, {})
                for node in tree.body
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and name_of(node.func) in ERRORS and node.args:
                    place = f"{path.relative_to(ROOT)}:{node.lineno}"
                    found.append(Message(text_of(node.args[0], constants), place))
    return found


def name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def text_of(node: ast.expr, constants: dict[str, str]) -> str:
    """Spell an expression as a text, with {} for what only running it would tell."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return constants.get(node.id, "{}") or "{}"
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part, constants) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return text_of(node.value, constants)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left, constants) + text_of(node.right, constants)
    if isinstance(node, ast.IfExp):
        return f"{text_of(node.body, constants)}/{text_of(node.orelse, constants)}"
    return "{}"


def parameters() -> set[str]:
    """List the names of all arguments, fields and attributes of the packages: what a message may tell to set."""
    names = set()
    for package in PACKAGES:
        for path in (Path(ROOT) / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.arg):
                    names.add(node.arg)
                elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    names.add(node.target.id)
    return names
