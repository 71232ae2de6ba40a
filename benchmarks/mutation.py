"""Change one operator or number of a module at a time, and see whether that module's own tests notice.

    python benchmarks/mutation.py                                     # a sample of every module below
    python benchmarks/mutation.py --only recsys/ranking.py --sample 40

Why no public tool: mutmut changes functions alone, so that constants of a module stay as they are, and cosmic-ray
starts Python anew for every mutant, which here (torch and diffusers) takes longer than most test files. This script
imports the libraries once and forks: a child takes the changed module in place of the one on the disk, runs the tests
and ends at the first failure. Nothing is written to the source tree. Numbers of a module's level are always tried; the
rest is a sample. Results are kept by module in `results/mutation.json`; a run replaces those of the modules it names.
"""

import argparse
import ast
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import random
import resource
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "benchmarks" / "results" / "mutation.json"
LIBRARIES = (
    "numpy",
    "torch",
    "scipy.optimize",
    "scipy.stats",
    "pyarrow.parquet",
    "PIL.Image",
    "pytest",
    "accelerate",
    "sympy",
    "torch.distributed.tensor",
    "torch.distributed.tensor",
    "sympy",
    "torch.optim",
)
PICTURES = ("diffusers", "transformers", "peft", "diffusers.loaders", "diffusers.training_utils",
            "diffusers.pipelines.stable_diffusion", "diffusers.pipelines.stable_diffusion_xl",
            "diffusers.models.unets.unet_2d_condition", "diffusers.models.autoencoders.autoencoder_kl",
            "transformers.models.clip.modeling_clip")  # fmt: skip
TESTS = {
    "recsys/diffusion/discrete.py": ("recsys/diffusion/test_discrete.py",),
    "recsys/diffusion/gaussian.py": ("recsys/diffusion/test_gaussian.py",),
    "recsys/diffusion/guidance.py": ("recsys/diffusion/test_guidance.py",),
    "recsys/diffusion/noise.py": ("recsys/models/test_dreamrec.py",),
    "recsys/diffusion/schedule.py": ("recsys/diffusion/test_schedule.py",),
    "recsys/diffusion/uncertainty.py": ("recsys/diffusion/test_uncertainty.py",),
    "recsys/counts/arrivals.py": ("recsys/counts/test_arrivals.py",),
    "recsys/counts/evidence.py": ("recsys/counts/test_transitions.py",),
    "recsys/counts/stacking.py": ("recsys/counts/test_stacking.py", "recsys/counts/test_transitions.py"),
    "recsys/counts/texts.py": ("recsys/counts/test_texts.py",),
    "recsys/counts/transitions.py": ("recsys/counts/test_transitions.py", "recsys/counts/test_arrivals.py"),
    "recsys/models/countdiff.py": ("recsys/counts/test_transitions.py", "recsys/counts/test_arrivals.py"),
    "recsys/ranking.py": ("recsys/test_ranking.py", "recsys/test_evaluate.py"),
    "recsys/data/splits.py": ("recsys/data/test_splits.py",),
    "personagen/warping/cutout.py": ("personagen/tryon/test_dress.py", "personagen/corpora/test_photos.py"),
    "personagen/warping/drape.py": ("personagen/warping/test_drape.py",),
    "personagen/warping/garment_shape.py": ("personagen/warping/test_garment_shape.py",),
    "personagen/warping/inpaint.py": ("personagen/warping/test_inpaint.py", "personagen/warping/test_lay.py"),
    "personagen/warping/lay.py": ("personagen/warping/test_lay.py",),
    "personagen/warping/shading.py": ("personagen/warping/test_shading.py",),
    "personagen/warping/strips.py": ("personagen/warping/test_strips.py",),
    "personagen/warping/uncover.py": ("personagen/warping/test_lay.py",),
    "personagen/adapters/kohya.py": ("personagen/adapters/test_lora.py",),
    "personagen/adapters/lora.py": ("personagen/adapters/test_lora.py",),
    "personagen/person/colour_prior.py": ("personagen/person/test_colour_prior.py",),
    "personagen/person/guided_filter.py": ("personagen/person/test_guided_filter.py",),
    "personagen/person/joints.py": ("personagen/person/test_joints.py",),
    "personagen/person/body.py": ("personagen/person/test_body.py", "personagen/person/test_masks.py"),
    "personagen/person/masks.py": ("personagen/person/test_masks.py", "personagen/person/test_body.py"),
    "personagen/person/parts.py": ("personagen/person/test_masks.py", "personagen/person/test_body.py"),
    "personagen/person/parser.py": ("personagen/person/test_parser.py",),
}
SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
PAIRS = (("min", "max"), ("amin", "amax"), ("argmin", "argmax"), ("any", "all"), ("minimum", "maximum"))
NAMES = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
SPARED = (ast.Raise, ast.Assert, ast.JoinedStr, ast.ImportFrom, ast.Import)  # messages and imports


@dataclass(frozen=True)
class Mutant:
    """What was changed, where, and what became of it."""

    line: int
    before: str
    after: str
    outcome: str = ""


def places(tree: ast.AST, level: int = 0) -> Iterator[tuple[ast.AST, bool]]:
    """Walk over what may be changed, with whether it lies at the module's level; types and messages are left out."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST) and not isinstance(node, SPARED):
                yield node, level == 0
                yield from places(node, level + isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda))


def change(node: ast.AST) -> bool:
    """Change a node in place; say whether there was anything to change."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        node.value = changed_number(node.value)  # pyrefly: ignore[bad-argument-type]
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        node.operand, node.op = ast.UnaryOp(ast.Not(), node.operand), ast.Not()
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        node.attr = NAMES[node.attr]
    elif isinstance(node, ast.Name) and node.id in NAMES:
        node.id = NAMES[node.id]
    else:
        return False
    return True


def changed_number(value: float) -> float:
    """Double what is large or broken, move small integers by one, and turn truth over."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1 if value <= 10 else 2 * value
    return 2 * value if value else 1.0


def mutants_of(source: str, sample: int, seed: int) -> Iterator[tuple[Mutant, ast.Module]]:
    """Yield the changed trees of a module: every number at its level, and a sample of the rest, in order of lines."""
    found = list(places(ast.parse(source)))
    able = [at for at, (node, _) in enumerate(found) if change(node)]
    always = [at for at in able if found[at][1] and isinstance(found[at][0], ast.Constant)]
    rest = [at for at in able if at not in always]
    chosen = random.Random(seed).sample(rest, min(len(rest), max(0, sample - len(always))))
    lines = source.splitlines()
    for at in sorted([*always, *chosen]):
        tree = ast.parse(source)
        node: ast.AST = list(places(tree))[at][0]
        before = ast.unparse(node)
        change(node)
        line: int = node.lineno  # pyrefly: ignore[missing-attribute]
        if before != ast.unparse(node):
            shown = lines[line - 1].strip()
            yield Mutant(line, shown, f"{before} -> {ast.unparse(node)}"), ast.fix_missing_locations(tree)


class Replaced(importlib.machinery.SourceFileLoader):
    """Gives a module the code of a changed tree."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        super().__init__(name, path)
        self.tree = tree

    def get_code(self, fullname: str):
        """Compile the changed tree."""
        return compile(self.tree, self.path, "exec")


class Finder(importlib.abc.MetaPathFinder):
    """Finds one module and leaves the others to Python."""

    def __init__(self, loader: Replaced) -> None:
        self.loader = loader

    def find_spec(self, fullname, path=None, target=None):
        """Return the changed module's spec, None for any other."""
        if fullname != self.loader.name:
            return None
        return importlib.machinery.ModuleSpec(fullname, self.loader, origin=self.loader.path)


def run_tests(module: str, tree: ast.Module, seconds: int) -> tuple[str, float]:
    """Run a module's tests on a changed tree in a child; return the outcome and the CPU-seconds that it took."""
    child = os.fork()
    if child == 0:
        _be_the_child(module, tree, seconds)
    _, status, used = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    outcome = {0: "survived", 1: "killed", 2: "killed"}.get(code, "killed by the time limit" if code < 0 else "killed")
    return outcome, used.ru_utime + used.ru_stime


def _be_the_child(module: str, tree: ast.Module, seconds: int) -> None:
    import pytest

    code = 3
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        name = module.removesuffix(".py").replace("/", ".")
        sys.meta_path.insert(0, Finder(Replaced(name, str(ROOT / module), tree)))
        words = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:anyio"]
        code = int(pytest.main([*words, *(f"tests/{word}" if ".py" in word else word for word in TESTS[module])]))
    finally:
        os._exit(code)


def try_module(module: str, sample: int, seed: int) -> dict:
    """Try the mutants of one module."""
    source = (ROOT / module).read_text(encoding="utf-8")
    outcome, whole = run_tests(module, ast.parse(source), 900)
    if outcome != "survived":
        sys.exit(f"the tests of {module} fail without any change")
    tried, total = [], whole
    for mutant, tree in mutants_of(source, sample, seed):
        outcome, seconds = run_tests(module, tree, int(3 * whole + 10))
        total += seconds
        tried.append(Mutant(mutant.line, mutant.before, mutant.after, outcome))
        if outcome == "survived":
            print(f"{module}:{mutant.line}: {mutant.after}   [{mutant.before}]", flush=True)
    survivors = [
        {k: v for k, v in asdict(mutant).items() if k != "outcome"} for mutant in tried if mutant.outcome == "survived"
    ]
    killed = len(tried) - len(survivors)
    print(f"{module}: {killed} of {len(tried)} killed in {total:.0f} CPU-seconds", flush=True)
    return {"tests": list(TESTS[module]), "tried": len(tried), "killed": killed, "seed": seed, "sample": sample,
            "cpu_seconds": round(total), "survivors": survivors}  # fmt: skip


def main() -> None:
    """Try the modules that are asked for and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(TESTS), choices=list(TESTS), metavar="MODULE")
    parser.add_argument("--sample", type=int, default=25, help="mutants of a module")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    importlib.import_module("tests.conftest")
    for name in LIBRARIES + PICTURES * any(module.startswith("personagen") for module in asked.only):
        importlib.import_module(name)
    for module in asked.only:
        kept = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
        command = f"python benchmarks/mutation.py --only {module} --sample {asked.sample} --seed {asked.seed}"
        found = try_module(module, asked.sample, asked.seed)
        modules: dict[str, Any] = dict(
            sorted({**kept.get("modules", {}), module: {"command": command, **found}}.items())
        )
        sums = {"tried": sum(one["tried"] for one in modules.values())}
        sums["survive"] = sum(len(one["survivors"]) for one in modules.values())
        OUT.write_text(json.dumps({**kept, **sums, "modules": modules}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
