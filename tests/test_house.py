"""The house in order: who imports whom, complete docstrings, a check for every guarantee, validators that can say no."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import theory
from verify.registry import checks

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "theory": {"theory"},
    "mdps": {"mdps"},
    "certify": {"certify", "theory", "mdps"},
    "verify": {"verify", "certify", "theory", "mdps"},
}
HEAVY = ("cvxpy", "sympy", "statsmodels", "numba", "matplotlib", "torch", "onnxruntime", "stable_baselines3", "dask")


FORWARDING = {
    "verify.simulators.simulate": lambda simulate: simulate("river-swim:3", algorithm="ucrl2", steps=10, seeds=1, nonsense=1),
    "certify.smoothing.sample_into_store": lambda sample: sample("never.db", None, "CartPole-v1", episodes=1, nonsense=1),
}
"""How to call each function that passes keywords on, with one that nobody knows."""


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every top-level package that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_go_one_way(package):
    for path in sources(package):
        ours = imported(path) & set(ALLOWED)
        assert ours <= ALLOWED[package], f"{path} imports {ours - ALLOWED[package]}"


@pytest.mark.parametrize("package", ALLOWED)
def test_modules_stay_one_concept(package):
    long = {str(path): len(path.read_text().splitlines()) for path in sources(package)}
    assert {path: n for path, n in long.items() if n > 500} == {}


def rooms() -> list[str]:
    names = list(ALLOWED)
    for package in ALLOWED:
        names += [f"{package}.{info.name}" for info in pkgutil.iter_modules([str(ROOT / package)]) if info.ispkg]
    return names


def public_callables() -> list[tuple[str, object]]:
    found = []
    for room in rooms():
        module = importlib.import_module(room)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isfunction(value) or inspect.isclass(value):
                found.append((f"{room}.{name}", value))
    return found


@pytest.mark.parametrize(("name", "value"), [pytest.param(n, v, id=n) for n, v in public_callables()])
def test_public_callables_are_documented(name, value):
    doc = inspect.getdoc(value)
    assert doc, f"{name} has no docstring"
    assert doc.split("\n\n")[0].rstrip().endswith((".", ":")), f"{name}: the first paragraph of the docstring must be a sentence"
    if inspect.isfunction(value):
        signature = inspect.signature(value)
        if inspect.Parameter.VAR_KEYWORD in {p.kind for p in signature.parameters.values()}:
            with pytest.raises((TypeError, ValueError), match="nonsense"):
                FORWARDING[name](value)
        missing = [p for p in signature.parameters if p.strip("_") not in doc]
        assert not missing, f"{name}: arguments without a word in the docstring: {missing}"
        if signature.parameters:
            assert "Parameters\n" in doc, f"{name} has no section Parameters"


def test_each_guarantee_has_a_check_with_a_control_and_a_figure():
    assert list(checks()) == list(theory.catalogue())
    for check in checks().values():
        assert check.controls
        assert callable(check.figure)
        assert check.cost["quick"] <= check.cost["full"]


def test_the_quick_budget_of_the_catalogue_fits_in_its_time():
    """Ten minutes on two cores, by what the checks state, of which no paper takes more than 90 s."""
    costs = {key: check.cost["quick"] for key, check in checks().items()}
    assert sum(costs.values()) <= 1150
    for paper in {key.split("/")[0] for key in costs}:
        assert sum(cost for key, cost in costs.items() if key.startswith(f"{paper}/")) <= 90, paper


def test_recalled_statements_are_not_passed_off_as_published():
    for guarantee in theory.catalogue().values():
        assert guarantee.source in guarantee.status_line


@pytest.mark.parametrize(
    ("code", "forbidden"),
    [
        pytest.param("import verify.cli, sys; verify.cli.build_app()", HEAVY, id="the command line"),
        pytest.param("import theory", HEAVY, id="theory"),
        pytest.param("import mdps", HEAVY, id="mdps"),
        pytest.param("import certify.smoothing", HEAVY, id="certify.smoothing"),
    ],
)
def test_imports_stay_light(code, forbidden):
    script = f"{code}\nimport sys\nprint([name for name in {forbidden!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_validator_was_seen_to_accept_and_to_reject(validator_outcomes):
    lazy = {name: seen for name, seen in validator_outcomes.items() if seen != {"accepts", "rejects"}}
    assert lazy == {}
