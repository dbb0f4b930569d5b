"""Every example in a docstring runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def source(info: pkgutil.ModuleInfo) -> str:
    path = Path(ROOT, *info.name.split("."))
    return (path / "__init__.py" if info.ispkg else path.with_suffix(".py")).read_text()


NAMES = sorted(
    info.name
    for package in ("theory", "mdps", "certify", "verify")
    for info in pkgutil.walk_packages([str(ROOT / package)], prefix=f"{package}.")
    if not info.name.endswith("__main__") and ">>>" in source(info)
)


@pytest.mark.parametrize("name", NAMES)
def test_examples(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"needs an extra: {error}")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testmod(module, optionflags=flags)
    assert tried
    assert failed == 0
