"""Mutation evidence: break the bounds on purpose and count how many breaks the checks and tests notice.

    python benchmarks/mutation.py [--modules theory/policy_smoothing.py ...] [--count 40] [--seed 0]

A mutant changes one place of one module: a constant, a sign, an operator, a comparison, min for max, log for log1p.  It is rejected
when a test of the module fails or a check of the paper does not end as expected.  Sources are changed on a copy; ordinary mutation
tools skip decorated functions, this one does not, because it changes files.  Survivors are printed with their line, so that
equivalent ones can be told by eye and listed in EQUIVALENT.
"""

from __future__ import annotations

import argparse
import ast
import copy
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}
COMPARISONS = {ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt}
NAMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "sqrt": "abs", "log": "log1p", "log1p": "log", "exp": "expm1", "ceil": "floor"}

EQUIVALENT: frozenset[str] = frozenset()
"""Mutants that change nothing that can be observed, as `module:line: description`."""


@dataclass(frozen=True)
class Mutant:
    module: str
    line: int
    description: str
    source: str

    @property
    def name(self) -> str:
        return f"{self.module}:{self.line}: {self.description}"


def _variants(node: ast.AST) -> list[tuple[str, ast.AST]]:
    """Every way to break one node, with a description."""
    found: list[tuple[str, ast.AST]] = []
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        for value in (2 * node.value, node.value / 2 if isinstance(node.value, float) else node.value + 1):
            if value != node.value:
                found.append((f"{node.value!r} -> {value!r}", ast.Constant(value)))
    if isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
        changed = copy.deepcopy(node)
        changed.op = SWAPS[type(node.op)]()
        found.append((f"{type(node.op).__name__} -> {type(changed.op).__name__}", changed))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        found.append(("drop the sign", node.operand))
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
        changed_compare = copy.deepcopy(node)
        changed_compare.ops = [COMPARISONS[type(node.ops[0])]()]
        found.append(("negate the comparison", changed_compare))
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        changed_name = copy.deepcopy(node)
        changed_name.attr = NAMES[node.attr]
        found.append((f"{node.attr} -> {changed_name.attr}", changed_name))
    return found


class _Replace(ast.NodeTransformer):
    """Replaces the node number `target` in the order of a walk."""

    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self.target, self.replacement = target, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return ast.copy_location(self.replacement, node) if node is self.target else self.generic_visit(node)


def mutants(module: str) -> list[Mutant]:
    """Every mutant of the function bodies of a module; docstrings, messages of errors and validation are left alone."""
    text = (ROOT / module).read_text()
    found = []
    for function in [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]:
        skipped = {id(x) for part in ast.walk(function) if isinstance(part, (ast.Raise, ast.JoinedStr)) for x in ast.walk(part)}
        bodies = [node for statement in function.body for node in ast.walk(statement) if id(node) not in skipped]
        for index, node in enumerate(bodies):
            for description, _ in _variants(node):
                found.append((function.name, function.lineno, index, getattr(node, "lineno", function.lineno), description))
    results = []
    for name, start, index, line, description in dict.fromkeys(found):
        tree = ast.parse(text)
        function = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == name and n.lineno == start)
        skipped = {id(x) for part in ast.walk(function) if isinstance(part, (ast.Raise, ast.JoinedStr)) for x in ast.walk(part)}
        node = [n for statement in function.body for n in ast.walk(statement) if id(n) not in skipped][index]
        replacement = dict(_variants(node))[description]
        results.append(Mutant(module, line, description, ast.unparse(ast.fix_missing_locations(_Replace(node, replacement).visit(tree)))))
    return results


RUNNER = """
import sys
import mdps.jit
mdps.jit.source_hash = lambda: "mutation"          # the mutated module holds no kernel: compiled ones may be reused
import pytest
tests, paper = sys.argv[1].split(","), sys.argv[2]
if [t for t in tests if t] and pytest.main(["-x", "-q", "-p", "no:cacheprovider", *[t for t in tests if t]]) != 0:
    sys.exit(1)
if paper:
    from verify import run
    sys.exit(0 if run(paper).exit_status == 0 else 1)
"""


ROOMS = {
    "policy_smoothing": ["tests/theory/test_policy_smoothing.py"],
    "loop_agec": ["tests/theory/test_loop_agec.py"],
    "dr_rpo": ["tests/theory/test_dr_rpo.py"],
    "martingale_td": ["tests/certify/martingale"],
    "distributional_dp": ["tests/certify/returns/test_evaluation.py", "tests/certify/returns/test_optimise.py"],
    "r2pvi": ["tests/certify/robust/test_offline.py"],
}
"""Tests that speak of a paper's formulas."""


def tests_of(module: str, paper: str) -> list[str]:
    """The examples of a module, the test file that mirrors it, and the tests of its paper."""
    path = Path(module)
    mirrored = ROOT / "tests" / path.parent / f"test_{path.stem.lstrip('_')}.py"
    found = [f"tests/test_doctests.py::test_examples[{'.'.join(path.with_suffix('').parts)}]"] if ">>>" in (ROOT / module).read_text() else []
    found += [str(mirrored.relative_to(ROOT))] if mirrored.exists() else []
    return list(dict.fromkeys([*found, *ROOMS.get(paper, [])]))


def rejected(folder: Path, mutant: Mutant | None, module: str, paper: str, limit: float) -> bool:
    """Whether the tests and checks notice the mutant (None: the unchanged sources) in the copy of the sources at `folder`."""
    target = folder / module
    original = (ROOT / module).read_text()
    target.write_text(original if mutant is None else mutant.source)
    environment = {"PYTHONPATH": str(folder), "LEMMATA_CACHE": str(folder / "cache"), "PATH": "/usr/bin:/bin", "HOME": str(folder), "CI": "true"}
    try:
        done = subprocess.run([sys.executable, "-c", RUNNER, ",".join(tests_of(module, paper)), paper], cwd=folder, env=environment, capture_output=True,
                              timeout=limit, check=False)
        return done.returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        target.write_text(original)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "theory").glob("*.py") if p.stem not in ("__init__", "_types", "_catalogue", "_validate"))
    parser.add_argument("--modules", nargs="*", default=default)
    parser.add_argument("--count", type=int, default=20, help="mutants drawn from each module")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one mutant")
    options = parser.parse_args()
    total = caught = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("theory", "mdps", "certify", "verify", "tests", "pyproject.toml"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name)
            else:
                shutil.copy(source, folder / name)
        for module in options.modules:
            paper = next((key for key in sorted((p.stem for p in (ROOT / "theory").glob("[a-z]*.py")), key=len, reverse=True) if key in module), "")
            everything = mutants(module)
            drawn = random.Random(options.seed).sample(everything, min(options.count, len(everything)))
            if not drawn:
                continue
            if rejected(folder, None, module, paper, options.limit):
                print(f"{module}: the unchanged sources are rejected; nothing to learn", flush=True)
                continue
            survivors = []
            start = time.perf_counter()
            for number, mutant in enumerate(drawn, 1):
                if mutant.name in EQUIVALENT:
                    continue
                total += 1
                if rejected(folder, mutant, module, paper, options.limit):
                    caught += 1
                else:
                    survivors.append(mutant)
                print(f"\r{module}: {number}/{len(drawn)}, {len(survivors)} survive", end="", file=sys.stderr, flush=True)
            spent = time.perf_counter() - start
            print(f"\n{module}: {len(drawn) - len(survivors)} of {len(drawn)} rejected ({len(everything)} in all), {spent:.0f} s", flush=True)
            for mutant in survivors:
                print(f"  survives: {mutant.name}", flush=True)
    if total:
        print(f"rejected {caught} of {total} mutants: {100 * caught / total:.1f} %")


if __name__ == "__main__":
    main()
