"""Robust models: the smallest expectation over a set around a nominal distribution, and solvers for rectangular robust MDPs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdps.robust.closed_forms import lp_value as lp_value
    from mdps.robust.solver import RobustSolution as RobustSolution
    from mdps.robust.solver import solve as solve
    from mdps.robust.worst import DIVERGENCES as DIVERGENCES
    from mdps.robust.worst import PENALTIES as PENALTIES
    from mdps.robust.worst import WorstCase as WorstCase
    from mdps.robust.worst import worst_case as worst_case
    from mdps.robust.worst import worst_case_rows as worst_case_rows

_HOMES = {
    "DIVERGENCES": "mdps.robust.worst",
    "PENALTIES": "mdps.robust.worst",
    "RobustSolution": "mdps.robust.solver",
    "WorstCase": "mdps.robust.worst",
    "lp_value": "mdps.robust.closed_forms",
    "solve": "mdps.robust.solver",
    "worst_case": "mdps.robust.worst",
    "worst_case_rows": "mdps.robust.worst",
}
"""Public name to the module that defines it."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
