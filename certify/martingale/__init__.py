"""Policy evaluation in continuous time: exact fixed points, algorithms on trajectories, and a test of a critic.

`fixed_point` says without simulation where each algorithm ends for a linear critic; `evaluate` runs it on trajectories;
`test_critic` asks whether a critic is the value function of the policy that made the trajectories.  Names load on first use.
Source: martingale_td.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certify.martingale.critic import CriticTest as CriticTest
    from certify.martingale.critic import test_critic as test_critic
    from certify.martingale.evaluation import Evaluation as Evaluation
    from certify.martingale.evaluation import evaluate as evaluate
    from certify.martingale.fixed_points import FixedPoint as FixedPoint
    from certify.martingale.fixed_points import fixed_point as fixed_point
    from certify.martingale.paths_file import load_paths as load_paths
    from certify.martingale.paths_file import save_paths as save_paths

_HOMES = {
    "CriticTest": "certify.martingale.critic",
    "Evaluation": "certify.martingale.evaluation",
    "FixedPoint": "certify.martingale.fixed_points",
    "evaluate": "certify.martingale.evaluation",
    "fixed_point": "certify.martingale.fixed_points",
    "load_paths": "certify.martingale.paths_file",
    "save_paths": "certify.martingale.paths_file",
    "test_critic": "certify.martingale.critic",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
