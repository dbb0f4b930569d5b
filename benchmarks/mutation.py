"""Mutation evidence: break the bounds on purpose and count how many breaks the checks and tests notice.

    python benchmarks/mutation.py [--rooms policy_smoothing ...] [--count 40] [--jobs 2] [--seed 0] [--again]

A mutant changes one place of one module: a constant, a sign, an operator, a comparison, min for max, log for log1p, a factor or a
logarithm left out.  It is rejected when a test that reaches the changed function fails, or a check of the paper does not end as
expected.  Sources are changed in a copy, so decorated functions and compiled kernels are mutated like all others.

Mutants of `theory` are sorted by what they do to the functions on arguments met in the tests: *unsafe* ones make an upper bound
smaller, a lower bound larger or an exact figure different, *loose* ones only move a bound the other way, *unseen* ones change no
result.  Survivors are printed with their line; `--again` judges those of a record once more, after tests were added.  Those that
change nothing that can be observed are listed in EQUIVALENT by hand.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("theory", "mdps", "certify", "verify", "tests", "examples", "docs", "README.md", "pyproject.toml")

SWAPS: dict[type[ast.AST], type[ast.AST]] = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}
COMPARISONS: dict[type[ast.AST], type[ast.AST]] = {ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt}
NAMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "sqrt": "abs", "log": "log1p", "log1p": "log", "exp": "expm1", "ceil": "floor"}

LOWER = frozenset(
    {
        "bayes_risk", "conditional_shift", "crop_action_radius", "crop_mean_bound", "dual_objective", "expected_return_bound",
        "gaussian_lower_bound", "gaussian_shift_lower", "indistinguishable_loss", "largest_radius", "lipschitz_mean_bound", "minimax_lower_bound",
        "per_step_return_bound", "printed_lower_bound", "quantile_level", "recepes_bound", "stopping_change", "success_radius", "total_variation_mean_bound",
        "wang_transform",
    }
)
"""Functions of `theory` that return lower bounds or radii: too large is wrong."""
UPPER = frozenset(
    {
        "absorbing_coefficient", "anytime_radius", "categorical_cramer_bound", "categorical_fixed_point_cramer",
        "categorical_fixed_point_wasserstein", "categorical_fixed_point_wasserstein_by_cramer", "categorical_wasserstein_bound", "class_radius",
        "coverage_bound", "coverage_trajectories", "covering_radius", "discretisation_bound", "drpvi_coefficient", "dvi_error", "dvi_iterations",
        "effective_budget", "greedy_loss", "in_sample_bound", "information_bound", "lattice_radius", "linear_dominance", "linear_eluder_bound",
        "linear_transfer", "log_covering_ball", "mle_radius", "mle_regret_bound", "mle_variation_bound", "outer_search_error",
        "outer_search_error_by_slope", "pigeonhole_count", "pigeonhole_squares", "pigeonhole_sum", "pigeonhole_weighted", "potential_bound",
        "printed_coefficient", "projected_dvi_error", "quantile_fixed_point_wasserstein", "quantile_fixed_point_wasserstein_book", "quantile_wasserstein_bound", "range_bound", "regret_bound", "saturating_coefficient", "softmax_kl_bound", "softmax_l1_bound",
        "softmax_tv_bound", "span_bound", "split_coefficient", "split_constant", "spread_cvar_gap", "spread_variance", "spread_wasserstein",
        "stock_grid_error", "sweep_wasserstein", "switching_bound", "switching_bound_pathwise", "temperature_bias", "ucrl2_episode_bound",
        "ucrl2_regret_bound", "ucrl2_widths",
    }
)
"""Functions of `theory` that return upper bounds, radii of confidence or budgets: too small is wrong.  The others are exact figures."""

EQUIVALENT = frozenset(
    {
        # one node more of a quadrature that is exact to rounding; another start, split or number of halvings of a search
        "theory/martingale_td.py:nodes, weights = np.polynomial.legendre.leggauss(80) -> 80 becomes 81",
        "theory/loop_agec.py:low, high = 0, 1 -> 0 becomes 1",
        "certify/complexity/gain.py:middle = 0.5 * (low + high) -> 0.5 becomes 0.25",
        "certify/robust/_duals.py:for _ in range(3): -> 3 becomes 6",
        # a step that only the rounding of a logarithm could ask for
        "theory/distributional_dp.py:return n if float(dvi_error(lipschitz, gamma, n, distance)) <= error else n + 1 -> without Add 1",
        "theory/distributional_dp.py:return n if float(dvi_error(lipschitz, gamma, n, distance)) <= error else n + 1 -> Add becomes Sub before 1",
        # a cap that no mean of clipped values reaches; a quotient that is overwritten by infinity
        "theory/_policy_smoothing_comparators.py:upper = min(max((best - deviation - low) / width, 0.0), 1.0) -> 1.0 becomes 2.0",
        "certify/robust/exact.py:terms = np.where(p > 0, p * np.log(np.where(q > 0, p / q, 1.0)), 0.0) - (p - q) -> 1.0 becomes 2.0",
        # a number that only has to be negative; two ways of computing the same thing, chosen by size or accuracy
        "certify/robust/online.py:return -1 -> 1 becomes 2",
        "certify/robust/_design.py:_DENSE_COUNTS = 4_000_000 -> 4000000 becomes 8000000",
        "certify/robust/_kernels_online.py:return float(q[best] + eta * (math.log1p(lost) if lost > -0.5 else math.log(total))) -> 0.5 becomes 1.0",
        # a margin for rounding, or for the spacing of a grid, that becomes larger
        "certify/robust/_design.py:error = 16.0 * np.finfo(float).eps * condition * np.sqrt(d) -> 16.0 becomes 32.0",
        "certify/robust/_recursion.py:slack += R / (_duals.LEVELS - 1) -> 1 becomes 2",
        # another start, a later end of an iteration that stops by its gap, more room in a table
        "certify/complexity/gain.py:weights = np.bincount(design, minlength=len(gram)) / samples -> Div becomes Mult before samples",
        "certify/complexity/gain.py:weights = np.bincount(design, minlength=len(gram)) / samples -> without Div samples",
        "certify/complexity/gain.py:for _ in range(20): -> 20 becomes 40",
        "certify/complexity/gain.py:for _ in range(20): -> 20 becomes 21",
        "certify/complexity/gain.py:for iteration in range(20_000): -> 20000 becomes 40000",
        "certify/complexity/gain.py:for iteration in range(20_000): -> 20000 becomes 20001",
        "certify/complexity/eluder.py:capacity = 8 -> 8 becomes 16",
        "certify/complexity/eluder.py:capacity = 8 -> 8 becomes 9",
        "certify/complexity/eluder.py:capacity *= 4 -> 4 becomes 8",
        "certify/complexity/eluder.py:capacity *= 4 -> 4 becomes 5",
        "certify/complexity/_kernels_eluder.py:capacity = points * functions + 2 -> 2 becomes 4",
        "certify/complexity/_kernels_eluder.py:capacity = points * functions + 2 -> 2 becomes 3",
        "certify/complexity/_kernels_eluder.py:count = np.zeros(points + 1, np.int64) -> 1 becomes 2",
        "certify/complexity/gain.py:if short <= tolerance * max(1.0, value) or (goal > 0.0 and (value > goal or value + gap <= goal)): -> Mult becomes Div before max(1.0, value)",
        # more nodes of a rule that is exact to rounding; a common factor of both sides of the normal equations
        "certify/martingale/fixed_points.py:NODES = 48 -> 48 becomes 96",
        "certify/martingale/fixed_points.py:NODES = 48 -> 48 becomes 49",
        "certify/martingale/evaluation.py:weight = np.exp(-discount * (paths.time[:-1] - paths.time[0])) if discounted else np.ones(dt.size) -> Sub becomes Add before paths.time[0]",
        "certify/martingale/evaluation.py:weight = np.exp(-discount * (paths.time[:-1] - paths.time[0])) if discounted else np.ones(dt.size) -> without Sub paths.time[0]",
        # a divisor or a guard where there is nothing to divide; whether work is shared among workers
        "certify/martingale/critic.py:safe = np.where(spread > 0, spread, 1.0) -> 1.0 becomes 0.5",
        "certify/martingale/critic.py:square = (sums / np.maximum(np.abs(sums).max(axis=0), 1e-300)) ** 2 -> 1e-300 becomes 5e-301",
        "certify/martingale/evaluation.py:if jobs > 1 and len(starts) > 1: -> negate len(starts) > 1",
        # returns: a horizon that is never absent there, one model or time where there is only one, a limit of rounds that is never met
        "certify/returns/optimisation.py:sweeps = min(2000.0, 30.0 / -np.log(problem.gamma)) if problem.gamma < 1.0 else float(problem.horizon or 1) -> 1 becomes 2",
        "certify/returns/optimisation.py:layers, current = [layer_of(box, table, 0, rounded=rounded)], table -> 0 becomes 1",
        'certify/returns/optimisation.py:current = sweep(problem.stage(0), problem.gamma, box, 0, current, origin, table.step, count, "nearest") -> 0 becomes 1',
        "certify/returns/_model.py:for _ in range(1000): -> 1000 becomes 2000",
        "certify/returns/_model.py:for _ in range(1000): -> 1000 becomes 1001",
        "certify/returns/_box.py:gamma, model = problem.gamma, problem.stage(0) -> 0 becomes 1",
        "certify/returns/_box.py:S, gamma, model = problem.n_states, problem.gamma, problem.stage(0) -> 0 becomes 1",
        "certify/returns/_box.py:following = sweep(model, gamma, box, 0, table, origin, step, count, mode) -> 0 becomes 1",
        'certify/returns/_box.py:checked = sweep(model, gamma, box, 0, table, origin, step, count, "nearest") -> 0 becomes 1',
        "certify/returns/cvar.py:layers = [*(layer_of(box, table, 0) for table in result.chain), layer_of(box, fixed.table, 0)] -> 0 becomes 1",
        # two solvers of one system; nodes above every stock of a start; a divisor that only keeps 0/0 away; any row of equal ones; tails not cut
        "certify/returns/_model.py:if S <= 400: -> negate S <= 400",
        "certify/returns/_model.py:if S <= 400: -> 400 becomes 800",
        "certify/returns/_model.py:if S <= 400: -> 400 becomes 401",
        "certify/returns/cvar.py:nothing = np.zeros((problem.n_states, 1), dtype=np.int16) -> 1 becomes 2",
        "certify/returns/cvar.py:layers = tuple(GridLayer(float(box.high + 1.0), 1.0, nothing, box.below_actions[t], box.below_actions[t]) for t in range(steps)) -> without Add 1.0",
        "certify/returns/cvar.py:layers = tuple(GridLayer(float(box.high + 1.0), 1.0, nothing, box.below_actions[t], box.below_actions[t]) for t in range(steps)) -> 1.0 becomes 2.0",
        "certify/returns/cvar.py:layers = tuple(GridLayer(float(box.high + 1.0), 1.0, nothing, box.below_actions[t], box.below_actions[t]) for t in range(steps)) -> 1.0 becomes 0.5",
        "certify/returns/objectives.py:scale = max(1e-300, float(np.ptp(g))) -> 1e-300 becomes 2e-300",
        "certify/returns/objectives.py:scale = max(1e-300, float(np.ptp(g))) -> 1e-300 becomes 5e-301",
        "certify/complexity/classes.py:flat = self.errors.reshape(self.hypotheses, -1) -> 1 becomes 2",
        "certify/smoothing/games.py:following[s] = ahead[0] -> 0 becomes 1",
        "certify/smoothing/_kernels_bands.py:while top > i and removed + new[top] < cut: -> negate top > i",
        "certify/smoothing/_kernels_bands.py:while low <= high: -> negate low <= high",
        # smoothing: another start or stopping rule of a search, more room in a table, a larger margin for rounding
        "certify/smoothing/bands.py:x0 = target - math.log1p(min(n - 1, 11.0 * math.log(n)) * 0.55) -> Sub becomes Add before 1",
        "certify/smoothing/games.py:first = [sign * row for row in np.eye(steps) for sign in (1.0, -1.0)] + list(rng.standard_normal((starts, steps))) -> 1.0 becomes 0.5",
        "certify/smoothing/bands.py:x0 = target - math.log1p(min(n - 1, 11.0 * math.log(n)) * 0.55) -> 1 for math.log(n)",
        "certify/smoothing/_kernels_bands.py:if step * step * (n + 1.0) < 0.2 * _EPS: -> Add becomes Sub before 1.0",
        "certify/smoothing/bands.py:x0 = target - math.log1p(min(n - 1, 11.0 * math.log(n)) * 0.55) -> 1 becomes 2",
        "certify/smoothing/_kernels_bands.py:p = min(max(guess, 1e-300), 1.0 - 0.1 / n) -> Sub becomes Add before 0.1 / n",
        "certify/smoothing/_kernels_ordering.py:hx = np.empty(n + 1) -> 1 becomes 2",
        "certify/smoothing/_kernels_bands.py:error = _EPS * (4.0 + rounding + 3.0 * abs(n * p - k) + abs(shape) + abs(shape - first - second) + abs(logarithm)) -> 4.0 becomes 8.0",
        "certify/smoothing/betting.py:return np.asarray(np.maximum(floor + width * value * (1.0 - 1e-12) - 1e-14 * abs(floor), floor)) -> 1e-14 becomes 2e-14",
        # the last line end of a file; a number that only has to be huge
        'certify/smoothing/certificates.py:write_atomically(Path(path), json.dumps(self.to_json(), allow_nan=False) + "\\n") -> without Add \'\\n\'',
        'certify/robust/_recursion.py:bonus = np.minimum(betas[h] * (design.deviation if settings.form != "norm" else np.ones(d)), 1e300 / d) -> Div becomes Mult before d',
        # again a larger margin for rounding
        "certify/smoothing/_kernels_bands.py:return 4.0 * deviance if abs(x - mean) < 0.1 * (x + mean) else 2.0 * (x + mean + deviance) -> 2.0 becomes 4.0",
    }
)
"""Mutants that change nothing that can be observed, as `module:text -> description`, each looked at by a person."""


@dataclass(frozen=True)
class Room:
    """What is mutated together, and what must notice."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    papers: tuple[str, ...]


ROOMS = {
    "policy_smoothing": Room(
        ("theory/policy_smoothing.py", "theory/_policy_smoothing_gaussian.py", "theory/_policy_smoothing_comparators.py"),
        ("tests/theory/test_values.py", "tests/theory/test_policy_smoothing.py", "tests/certify/smoothing/test_certificates.py", "tests/certify/smoothing/test_side_certificates.py"),
        ("policy_smoothing",),
    ),
    "loop_agec": Room(("theory/loop_agec.py",), ("tests/theory/test_values.py", "tests/theory/test_loop_agec.py", "tests/certify/complexity"), ("loop_agec",)),
    "martingale_td": Room(("theory/martingale_td.py",), ("tests/theory/test_values.py", "tests/theory/test_martingale_td.py", "tests/certify/martingale"), ("martingale_td",)),
    "distributional_dp": Room(("theory/distributional_dp.py",), ("tests/theory/test_values.py", "tests/theory/test_distributional_dp.py", "tests/certify/returns"), ("distributional_dp",)),
    "r2pvi": Room(("theory/r2pvi.py",), ("tests/theory/test_values.py", "tests/theory/test_r2pvi.py", "tests/certify/robust"), ("r2pvi",)),
    "dr_rpo": Room(("theory/dr_rpo.py",), ("tests/theory/test_values.py", "tests/theory/test_dr_rpo.py", "tests/certify/robust/test_online.py"), ("dr_rpo",)),
    "certify-smoothing": Room(
        tuple(f"certify/smoothing/{name}.py" for name in
              ("bands", "betting", "certificates", "protocols", "quantiles", "strata", "planner", "comparators", "families", "games", "normalisation", "_kernels_bands",
               "_kernels_ordering")),
        ("tests/certify/smoothing/test_certificates.py", "tests/certify/smoothing/test_bands.py", "tests/certify/smoothing/test_betting.py",
         "tests/certify/smoothing/test_side_certificates.py", "tests/certify/smoothing/test_kernels.py", "tests/certify/smoothing/test_games.py",
         "tests/certify/smoothing/test_margins.py", "tests/certify/smoothing/test_returns.py"),
        ("policy_smoothing",),
    ),
    "certify-complexity": Room(
        tuple(f"certify/complexity/{name}.py" for name in ("certificate", "sequences", "covering", "gain", "eluder", "_kernels_eluder", "classes")),
        ("tests/certify/complexity",), ("loop_agec",)),
    "certify-martingale": Room(tuple(f"certify/martingale/{name}.py" for name in ("critic", "fixed_points", "evaluation", "_kernels_td")),
                               ("tests/certify/martingale",), ("martingale_td",)),
    "certify-returns": Room(tuple(f"certify/returns/{name}.py" for name in
              ("evaluation", "laws", "projections", "cvar", "optimisation", "objectives", "_model", "_box", "_layers", "_search", "_upper", "_kernels")),
                            ("tests/certify/returns",), ("distributional_dp",)),
    "certify-robust": Room(tuple(f"certify/robust/{name}.py" for name in ("_duals", "exact", "offline", "_recursion", "_design", "online", "_kernels_online")),
                           ("tests/certify/robust",), ("r2pvi", "dr_rpo")),
}


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    module: str
    line: int
    text: str
    description: str
    function: int
    """First line of the function it stands in, decorators included; 0 for the module itself."""
    source: str = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.module}:{self.text} -> {self.description}"


def variants(node: ast.AST) -> list[tuple[str, ast.AST]]:
    """Every way to break one node, with a description."""
    found: list[tuple[str, ast.AST]] = []
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        value = node.value
        for other in (2 * value, value / 2 if isinstance(value, float) else value + 1):
            if other != value:
                found.append((f"{value!r} becomes {other!r}", ast.Constant(other)))
    if isinstance(node, ast.BinOp):
        if type(node.op) in SWAPS:
            changed = copy.deepcopy(node)
            changed.op = SWAPS[type(node.op)]()  # type: ignore[assignment]
            found.append((f"{type(node.op).__name__} becomes {type(changed.op).__name__} before {ast.unparse(node.right)}", changed))
        if isinstance(node.op, ast.Mult | ast.Div | ast.Add | ast.Sub | ast.Pow):
            found.append((f"without {type(node.op).__name__} {ast.unparse(node.right)}", node.left))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        found.append((f"drop the sign of {ast.unparse(node.operand)}", node.operand))
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
        changed_compare = copy.deepcopy(node)
        changed_compare.ops = [COMPARISONS[type(node.ops[0])]()]  # type: ignore[list-item]
        found.append((f"negate {ast.unparse(node)}", changed_compare))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        if name in NAMES:
            changed_call = copy.deepcopy(node)
            if isinstance(changed_call.func, ast.Attribute):
                changed_call.func.attr = NAMES[name]
            elif name in ("min", "max"):
                changed_call.func.id = NAMES[name]  # type: ignore[attr-defined]
            if ast.unparse(changed_call) != ast.unparse(node):
                found.append((f"{ast.unparse(node)} becomes {NAMES[name]}", changed_call))
        if name in ("log", "log1p", "sqrt", "exp") and len(node.args) == 1:
            found.append((f"1 for {ast.unparse(node)}", ast.Constant(1.0)))
    return found


def places(tree: ast.Module) -> list[tuple[ast.AST, int]]:
    """Every node that may be changed, with the first line of its function; docstrings and validation are left alone."""
    found: list[tuple[ast.AST, int]] = []

    def walk(node: ast.AST, function: int) -> None:
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert) or (isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise)):
            return
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith("require_"):
            for argument in node.args[1:2]:
                walk(argument, function)
            return
        found.append((node, function))
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef) and not function:
                first = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                for statement in child.body:
                    walk(statement, first)
            elif not isinstance(child, ast.arguments) and not (isinstance(node, ast.AnnAssign) and child is node.annotation):
                walk(child, function)

    walk(tree, 0)
    return found


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self.target, self.replacement = target, replacement

    def visit(self, node: ast.AST) -> Any:
        return ast.copy_location(self.replacement, node) if node is self.target else self.generic_visit(node)


def mutants(module: str) -> list[Mutant]:
    """Every mutant of a module."""
    text = (ROOT / module).read_text()
    lines = text.splitlines()
    results = []
    for index, (node, function) in enumerate(places(ast.parse(text))):
        for position, (description, _) in enumerate(variants(node)):
            tree = ast.parse(text)
            twin = places(tree)[index][0]
            changed = ast.fix_missing_locations(_Replace(twin, variants(twin)[position][1]).visit(tree))
            line = getattr(node, "lineno", 0)
            results.append(Mutant(module, line, lines[line - 1].strip(), description, function, ast.unparse(changed)))
    return results


class Worker:
    """A process with a copy of the sources of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in PARTS:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
            else:
                shutil.copy(source, folder / name)
        environment = {**os.environ, "LEMMATA_CACHE": str(folder / "cache"), "CI": "true", "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1"}
        environment.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))
        script = Path(__file__).with_name("mutation_worker.py")
        self.process = subprocess.Popen([sys.executable, str(script), str(folder)], cwd=folder, env=environment, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the worker ended")
        found: dict[str, Any] = json.loads(answer)
        return found


def grade(name: str, moved: dict[str, list[float]]) -> str:
    """Return "unsafe", "loose" or "unseen" for a mutant of `theory`, "other" elsewhere."""
    if not name.startswith("theory/"):
        return "other"
    if not moved:
        return "unseen"
    unsafe = any((up if f in LOWER else down if f in UPPER else max(down, up)) > 1e-12 for f, (down, up) in moved.items())
    return "unsafe" if unsafe else "loose"


def keys_of(papers: tuple[str, ...]) -> list[str]:
    from theory import catalogue

    return [key for key in catalogue() if key.split("/")[0] in papers]


def run_room(name: str, room: Room, workers: list[Worker], count: int, seed: int, limit: float, record: Any, again: set[str] | None = None) -> None:
    """Measure one room and write one line for each mutant to `record`; `again` names the mutants to take instead of a draw."""
    modules = [m for m in room.modules if (ROOT / m).exists()]
    watched = [m[:-3].replace("/", ".") for m in modules if m.startswith("theory/")]
    examples = [f"tests/test_doctests.py::test_examples[{m[:-3].replace('/', '.')}]" for m in modules if ">>>" in (ROOT / m).read_text()]
    tests = examples + [t for t in room.tests if (ROOT / t).exists()]
    with ThreadPoolExecutor(len(workers)) as pool:
        found = list(pool.map(lambda w: w.ask(kind="baseline", watched=watched, tests=tests, checks=keys_of(room.papers), limit=1800.0), workers))
    if found[0]["failed"]:
        print(f"{name}: the unchanged sources are rejected by {found[0]['failed']}; nothing to learn", flush=True)
        return
    seconds, reached = found[0]["seconds"], found[0]["reached"]
    print(f"{name}: baseline of {len(seconds)} tests and checks, {sum(seconds.values()):.0f} s", flush=True)
    idle: Queue[Worker] = Queue()
    for worker in workers:
        idle.put(worker)

    def judge(mutant: Mutant) -> tuple[Mutant, dict[str, Any]]:
        units = reached.get(f"{mutant.module}:{mutant.function}", []) if mutant.function else list(seconds)
        if "_kernels" in mutant.module:
            units = list(seconds)
        units = sorted((u for u in units if u in seconds), key=lambda u: seconds[u])
        stale = [str(p.relative_to(ROOT)) for p in (ROOT / mutant.module).parent.glob("_kernels*.py")] if "_kernels" in mutant.module else []
        worker = idle.get()
        start = time.perf_counter()
        answer = worker.ask(
            kind="mutant", module=mutant.module, source=mutant.source, stale=stale, limit=limit,
            watched=mutant.module[:-3].replace("/", ".") if mutant.module.startswith("theory/") else "",
            tests=[u for u in units if "::" in u], checks=[u for u in units if "::" not in u],
        )
        idle.put(worker)
        return mutant, {**answer, "seconds": time.perf_counter() - start}

    everything = [m for module in modules for m in mutants(module)]
    drawn = random.Random(seed).sample(everything, min(count, len(everything))) if again is None else [m for m in everything if m.name in again]
    with ThreadPoolExecutor(len(workers)) as pool:
        for number, (mutant, answer) in enumerate(pool.map(judge, drawn), 1):
            outcome = {"room": name, "mutant": mutant.name, "line": mutant.line, "by": answer["by"], "seconds": round(answer["seconds"], 1),
                       "moved": answer.get("moved", {})}
            record.write(json.dumps(outcome) + "\n")
            record.flush()
            print(f"{name} {number}/{len(drawn)} of {len(everything)}: {grade(mutant.name, outcome['moved'])}, {'rejected by ' + outcome['by'] if outcome['by'] else 'SURVIVES'}: "
                  f"{mutant.name} ({outcome['seconds']} s)", flush=True)


def summary(path: Path) -> None:
    """Print the shares of a record."""
    outcomes = {o["mutant"]: o for o in map(json.loads, path.read_text().splitlines())}
    grades = {name: grade(name, o["moved"]) for name, o in outcomes.items()}
    for group in ("unsafe", "loose", "unseen", "other"):
        mine = [o for name, o in outcomes.items() if grades[name] == group and name not in EQUIVALENT]
        listed = sum(grades[name] == group and name in EQUIVALENT for name in outcomes)
        if mine or listed:
            caught = sum(bool(o["by"]) for o in mine)
            share = f"{100 * caught / len(mine):.1f} %" if mine else "-"
            print(f"{group}: {caught} of {len(mine)} rejected, {share}; {listed} more listed as equivalent")


def main() -> None:
    """Run what the command line asks for; a record that exists is continued."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", nargs="*", default=list(ROOMS), choices=list(ROOMS))
    parser.add_argument("--count", type=int, default=40, help="mutants drawn from each room")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one mutant")
    parser.add_argument("--record", type=Path, default=Path("mutation.jsonl"))
    parser.add_argument("--again", action="store_true", help="judge the survivors of the record again, instead of a draw")
    options = parser.parse_args()
    again = None
    if options.again:
        last = {o["mutant"]: o["by"] for o in map(json.loads, options.record.read_text().splitlines())}
        again = {name for name, by in last.items() if not by and name not in EQUIVALENT}
    with tempfile.TemporaryDirectory() as temporary, options.record.open("a") as record:
        workers = [Worker(Path(temporary) / str(i)) for i in range(options.jobs)]
        for name in options.rooms:
            run_room(name, ROOMS[name], workers, options.count, options.seed, options.limit, record, again)
        for worker in workers:
            worker.process.kill()
    summary(options.record)


if __name__ == "__main__":
    main()
