"""Runs inside a copy of the sources, for `mutation.py`: one warm process that forks once for each mutant.

    python mutation_worker.py OWN-TESTS...            (requests and answers are lines of JSON)

`baseline` runs tests and checks on the unchanged sources and notes which functions each of them reaches, how long it takes, and what
the functions of `theory` return for some of the arguments they meet.  `mutant` writes a changed source, runs those that reach it, and
says which one noticed.
"""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import json
import os
import pickle
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PRELOADED = ("numpy", "scipy.stats", "scipy.optimize", "scipy.sparse.linalg", "scipy.integrate", "sympy", "numba", "hypothesis", "pytest", "matplotlib.pyplot",
             "statsmodels.stats.multitest", "cvxpy", "joblib", "rich.progress", "typer.testing")
CALLS = 60
"""Calls of one function whose arguments are kept."""
PACKAGES = ("theory", "mdps", "certify", "verify")


class Units:
    """A pytest plugin that knows which test runs, how long each took, and which failed first."""

    def __init__(self) -> None:
        self.current, self.seconds, self.failed = "", {}, ""

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.current, self._start = nodeid, time.perf_counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = f"collection of {report.nodeid}"


def prepare(folder: Path) -> None:
    """Make this forked process one that imports the copy and prints nothing."""
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    import mdps.jit

    # compiled kernels of unchanged files may be reused: Numba itself compares the time stamp of the file of each
    mdps.jit.source_hash = lambda: "mutation"


def run_units(tests: list[str], checks: list[str], units: Units) -> str:
    """Run tests, then checks; return the first that fails."""
    import pytest

    if tests and pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning", *tests], plugins=[units]) != 0:
        return units.failed or "pytest"
    if checks:
        import verify
    for key in checks:
        units.current, start = key, time.perf_counter()
        if verify.run([key]).exit_status != 0:
            return key
        units.seconds[key] = time.perf_counter() - start
    return ""


def watch_calls(module_name: str, store: dict[str, list[Any]]) -> None:
    """Replace the public functions of a module of `theory` by ones that keep some arguments and results."""
    module = importlib.import_module(module_name)
    for name, function in list(vars(module).items()):
        if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_"):
            setattr(module, name, _keeping(function, store.setdefault(name, [])))


def _keeping(function: Callable[..., Any], kept: list[Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if len(kept) >= CALLS:
            return function(*args, **kwargs)
        given = copy.deepcopy((args, kwargs))
        result = function(*args, **kwargs)
        try:
            pickle.dumps((given, result))
        except Exception:  # some arguments are functions
            return result
        kept.append((given, copy.deepcopy(result)))
        return result

    return call


def baseline(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Run everything once under a profiler."""
    units, calls = Units(), {}
    for module in request["watched"]:
        watch_calls(module, calls.setdefault(module, {}))
    roots = tuple(str(folder / package) + os.sep for package in PACKAGES)
    reached: dict[str, set[str]] = {}

    def profile(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(roots):
            place = f"{os.path.relpath(frame.f_code.co_filename, folder)}:{frame.f_code.co_firstlineno}"
            reached.setdefault(place, set()).add(units.current)

    threading.setprofile(profile)
    sys.setprofile(profile)
    failed = run_units(request["tests"], request["checks"], units)
    sys.setprofile(None)
    (folder / "calls.pickle").write_bytes(pickle.dumps(calls))
    return {"failed": failed, "seconds": units.seconds, "reached": {place: sorted(found) for place, found in reached.items()}}


def compare(folder: Path, module: str) -> dict[str, list[float]]:
    """Return, for each function of a module, by how much its results moved down and up on the arguments kept from the baseline."""
    import numpy as np

    found: dict[str, list[float]] = {}
    calls = pickle.loads((folder / "calls.pickle").read_bytes()).get(module, {})
    namespace = importlib.import_module(module)
    for name, kept in calls.items():
        down = up = 0.0
        for (args, kwargs), before in kept:
            try:
                with np.errstate(all="ignore"):
                    after = getattr(namespace, name)(*args, **kwargs)
                for old, new in zip(_numbers(before), _numbers(after), strict=True):
                    with np.errstate(all="ignore"):
                        move = (new - old) / np.maximum(np.abs(old), 1e-12)
                    move = np.where((new == old) | (np.isnan(new) & np.isnan(old)), 0.0, np.where(np.isnan(move), np.inf, move))
                    down, up = max(down, float(-move.min(initial=0.0))), max(up, float(move.max(initial=0.0)))
            except Exception:  # a mutant may raise anything
                down = up = float("inf")
        if down > 1e-12 or up > 1e-12:
            found[name] = [down, up]
    return found


def _numbers(value: Any) -> list[Any]:
    import numpy as np

    if isinstance(value, tuple | list):
        return [part for item in value for part in _numbers(item)]
    if isinstance(value, dict):
        return [part for key in sorted(value) for part in _numbers(value[key])]
    return [np.asarray(value, dtype=float)]


def mutant(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Judge the sources as they now stand; constants that the unchanged sources left in the cache would hide what is computed."""
    for kept in (folder / "cache").iterdir():
        if not kept.name.startswith("numba-"):
            shutil.rmtree(kept) if kept.is_dir() else kept.unlink()
    moved = compare(folder, request["watched"]) if request["watched"] else {}
    return {"moved": moved, "by": run_units(request["tests"], request["checks"], Units())}


def in_child(task: Callable[[], dict[str, Any]], limit: float) -> dict[str, Any]:
    """Run `task` in a forked process and return its answer, or that it took too long or died."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(read)
        answer: dict[str, Any] = {"by": "import"}
        try:
            answer = task()
        except BaseException as error:  # a mutant may raise anything
            answer = {"by": f"{type(error).__name__} at import", "failed": repr(error)}
        with os.fdopen(write, "w") as handle:
            json.dump(answer, handle)
        os._exit(0)
    os.close(write)
    timer = threading.Timer(limit, os.killpg, (child, signal.SIGKILL))
    timer.start()
    with os.fdopen(read) as handle:
        text = handle.read()
    os.waitpid(child, 0)
    timer.cancel()
    return json.loads(text) if text else {"by": "time or memory", "failed": "time or memory"}


def main() -> None:
    """Serve requests until the input ends."""
    folder = Path(sys.argv[1]).resolve()
    for name in PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        run = baseline if request["kind"] == "baseline" else mutant

        def task(run: Any = run, request: dict[str, Any] = request) -> dict[str, Any]:
            prepare(folder)
            return run(folder, request)

        target = folder / request["module"] if request["kind"] == "mutant" else None
        original = target.read_bytes() if target else b""
        try:
            if target:
                target.write_text(request["source"])
                for kernels in request["stale"]:
                    os.utime(folder / kernels)
            answer = in_child(task, request["limit"])
        finally:
            if target:
                target.write_bytes(original)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
