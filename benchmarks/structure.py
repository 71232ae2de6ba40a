"""Boxes and arrows of the packages, by grimp, and what is longer than the house allows.

    python benchmarks/structure.py --out structure.json    # run in the root of a checkout

A box is a module or a package directly below `personagen`, `recsys` or `apps`; an arrow says that one imports another.
Lines of a function are its lines of code: without docstring, comments and blank lines.
"""

import argparse
import ast
import json
import sys
from itertools import permutations
from pathlib import Path

import grimp

PACKAGES = ("personagen", "recsys", "apps")
LONGEST_FUNCTION, LONGEST_FILE = 40, 400


def boxes_and_arrows(package: str) -> dict[str, int]:
    """Count what lies directly below a package, and which of these import each other."""
    graph = grimp.build_graph(package, cache_dir=None)
    boxes = sorted(graph.find_children(package))
    arrows = sum(
        graph.direct_import_exists(importer=one, imported=other, as_packages=True)
        for one, other in permutations(boxes, 2)
    )
    return {"boxes": len(boxes), "arrows": arrows}


def lines_of_code(node: ast.FunctionDef, source: list[str]) -> int:
    """Count the lines of a function without docstring, comments and blank lines."""
    skipped: set[int] = set()
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        skipped = set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    numbers = [number for number in range(node.lineno, (node.end_lineno or node.lineno) + 1) if number not in skipped]
    return sum(
        bool(source[number - 1].strip()) and not source[number - 1].strip().startswith("#") for number in numbers
    )


def too_long(folder: Path) -> tuple[list[str], list[str]]:
    """Name functions and files below a folder that are longer than the house allows."""
    functions, files = [], []
    for path in sorted(folder.rglob("*.py")):
        source = path.read_text(encoding="utf-8").splitlines()
        if len(source) > LONGEST_FILE:
            files.append(f"{path}: {len(source)}")
        for node in ast.walk(ast.parse("\n".join(source))):
            if isinstance(node, ast.FunctionDef) and (count := lines_of_code(node, source)) > LONGEST_FUNCTION:
                functions.append(f"{path}:{node.name}: {count}")
    return functions, files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path.cwd()))
    report: dict[str, object] = {package: boxes_and_arrows(package) for package in PACKAGES}
    long = [too_long(Path(package)) for package in (*PACKAGES, "tests", "benchmarks", "examples")]
    report["functions over 40 lines"] = [name for functions, _ in long for name in functions]
    report["files over 400 lines"] = [name for _, files in long for name in files]
    text = json.dumps(report, indent=1)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
