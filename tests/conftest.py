"""One Hypothesis profile, and a record of which validators were seen to accept and to reject."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import os
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("lemmata", deadline=None, derandomize=bool(os.environ.get("CI")), suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("lemmata")
os.environ.setdefault("MPLBACKEND", "agg")

PACKAGES = ("theory", "mdps", "certify", "verify")
ROOT = Path(__file__).resolve().parent
OUTCOMES: dict[str, set[str]] = {}


def _recording(name, function):
    seen = OUTCOMES.setdefault(name, set())

    @functools.wraps(function)
    def watched(*args, **kwargs):
        try:
            result = function(*args, **kwargs)
        except Exception:
            seen.add("rejects")
            raise
        seen.add("accepts")
        return result

    return watched


def _watch(module: ModuleType) -> None:
    for name, function in list(vars(module).items()):
        if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_"):
            setattr(module, name, _recording(f"{module.__name__}.{name}", function))


for package in PACKAGES:
    if importlib.util.find_spec(f"{package}._validate") is not None:
        _watch(importlib.import_module(f"{package}._validate"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the test of the validators last, and let it run only when every test file was collected."""
    last = [item for item in items if item.name == "test_every_validator_was_seen_to_accept_and_to_reject"]
    for item in last:
        items.remove(item)
        items.append(item)
    collected = {item.path for item in items}
    config.stash[whole_suite] = collected >= set(ROOT.rglob("test_*.py")) and not config.getoption("keyword")


whole_suite = pytest.StashKey[bool]()


@pytest.fixture
def validator_outcomes(pytestconfig: pytest.Config) -> dict[str, set[str]]:
    """What each validator did during this run; skips when only a part of the suite runs."""
    if not pytestconfig.stash.get(whole_suite, False):
        pytest.skip("needs a run of the whole suite")
    return OUTCOMES
