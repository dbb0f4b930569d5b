"""Where it is claimed: models, exact solvers, families of instances, a bridge to Gymnasium.

Imports nothing of the other packages.  Names load on first use, so that `import mdps` stays light.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES: dict[str, str] = {
    **dict.fromkeys(("TabularMDP", "FiniteHorizonMDP", "LinearMDP"), "mdps.models"),
    **dict.fromkeys(
        (
            "BrokenFile",
            "InfiniteDiameter",
            "InvalidDiscount",
            "InvalidPolicy",
            "ModelError",
            "Multichain",
            "NegativeProbability",
            "NoAction",
            "NotConverged",
            "NotFinite",
            "NotStochastic",
            "WrongShape",
        ),
        "mdps._errors",
    ),
    "Solution": "mdps.solution",
    "solve": "mdps.solvers",
    **dict.fromkeys(("Evaluation", "evaluate", "occupancy"), "mdps.evaluation"),
    **dict.fromkeys(("Classification", "classify", "stationary_distribution"), "mdps.structure"),
    **dict.fromkeys(("diameter", "hitting_times"), "mdps.hitting"),
    "from_gymnasium": "mdps.gymnasium_bridge",
    **dict.fromkeys(("load_model", "save_model", "read_prism", "to_prism", "from_mdptoolbox", "to_mdptoolbox"), "mdps.formats"),
}
"""Public name to the module that defines it."""

_ROOMS = ("diffusions", "exact", "families", "formats", "robust")
"""Submodules that `import mdps` makes reachable as attributes."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"mdps.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, *_ROOMS])
