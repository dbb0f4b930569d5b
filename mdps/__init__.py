"""Where it is claimed: models, exact solvers, families of instances, a bridge to Gymnasium.

Imports nothing of the other packages.  Names load on first use, so that `import mdps` stays light.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES: dict[str, str] = {}
"""Public name to the module that defines it."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
