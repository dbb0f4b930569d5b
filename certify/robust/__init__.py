"""Robust decisions on d-rectangular linear models: exact values, learning from data, learning online.

`exact_value` solves the model when it is known, `r2pvi` learns a policy from trajectories and certifies it, `dr_rpo` learns by playing.
Names load on first use.  Source: r2pvi, dr_rpo.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certify.robust.datasets import OfflineDataset as OfflineDataset
    from certify.robust.datasets import dataset_from_minari as dataset_from_minari
    from certify.robust.datasets import load_dataset as load_dataset
    from certify.robust.datasets import load_problem as load_problem
    from certify.robust.datasets import offline_dataset as offline_dataset
    from certify.robust.datasets import sample_dataset as sample_dataset
    from certify.robust.datasets import save_dataset as save_dataset
    from certify.robust.evaluation import PolicyValue as PolicyValue
    from certify.robust.evaluation import evaluate_policy as evaluate_policy
    from certify.robust.exact import EquivalentConstrained as EquivalentConstrained
    from certify.robust.exact import EquivalentRegularised as EquivalentRegularised
    from certify.robust.exact import OptimalityCertificate as OptimalityCertificate
    from certify.robust.exact import RobustValue as RobustValue
    from certify.robust.exact import certify_pair as certify_pair
    from certify.robust.exact import equivalent_constrained as equivalent_constrained
    from certify.robust.exact import equivalent_regularised as equivalent_regularised
    from certify.robust.exact import exact_value as exact_value
    from certify.robust.offline import METHODS as METHODS
    from certify.robust.offline import OfflineResult as OfflineResult
    from certify.robust.offline import OfflineWarning as OfflineWarning
    from certify.robust.offline import r2pvi as r2pvi
    from certify.robust.online import OnlineResult as OnlineResult
    from certify.robust.online import dr_rpo as dr_rpo

_HOMES = {
    **dict.fromkeys(
        ("OfflineDataset", "dataset_from_minari", "load_dataset", "load_problem", "offline_dataset", "sample_dataset", "save_dataset"),
        "certify.robust.datasets",
    ),
    **dict.fromkeys(("PolicyValue", "evaluate_policy"), "certify.robust.evaluation"),
    **dict.fromkeys(
        (
            "EquivalentConstrained", "EquivalentRegularised", "OptimalityCertificate", "RobustValue", "certify_pair", "equivalent_constrained",
            "equivalent_regularised", "exact_value",
        ),
        "certify.robust.exact",
    ),
    **dict.fromkeys(("METHODS", "OfflineResult", "OfflineWarning", "r2pvi"), "certify.robust.offline"),
    **dict.fromkeys(("OnlineResult", "dr_rpo"), "certify.robust.online"),
}
"""Public name to the module that defines it."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
