"""Laws of returns: exact and projected evaluation with certified error, and policies that are optimal for a functional of the law.

Source: the guarantees of `distributional_dp`.  Names load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certify.returns.cvar import CVaRSolution as CVaRSolution
    from certify.returns.cvar import maximise_cvar as maximise_cvar
    from certify.returns.environments import environment_model as environment_model
    from certify.returns.evaluation import ReturnLaw as ReturnLaw
    from certify.returns.evaluation import return_distribution as return_distribution
    from certify.returns.laws import Law as Law
    from certify.returns.laws import cramer as cramer
    from certify.returns.laws import mixture as mixture
    from certify.returns.laws import wasserstein as wasserstein
    from certify.returns.objectives import Objective as Objective
    from certify.returns.objectives import constrained as constrained
    from certify.returns.objectives import expected_utility as expected_utility
    from certify.returns.objectives import homeostasis as homeostasis
    from certify.returns.objectives import log_periodic as log_periodic
    from certify.returns.objectives import piecewise_linear as piecewise_linear
    from certify.returns.objectives import target_return as target_return
    from certify.returns.optimisation import StockSolution as StockSolution
    from certify.returns.optimisation import optimise as optimise
    from certify.returns.policies import StockPolicy as StockPolicy
    from certify.returns.projections import project_categorical as project_categorical
    from certify.returns.projections import project_quantile as project_quantile

_HOMES = {
    "CVaRSolution": "certify.returns.cvar",
    "Law": "certify.returns.laws",
    "Objective": "certify.returns.objectives",
    "ReturnLaw": "certify.returns.evaluation",
    "StockPolicy": "certify.returns.policies",
    "StockSolution": "certify.returns.optimisation",
    "environment_model": "certify.returns.environments",
    "constrained": "certify.returns.objectives",
    "cramer": "certify.returns.laws",
    "expected_utility": "certify.returns.objectives",
    "homeostasis": "certify.returns.objectives",
    "log_periodic": "certify.returns.objectives",
    "maximise_cvar": "certify.returns.cvar",
    "mixture": "certify.returns.laws",
    "optimise": "certify.returns.optimisation",
    "piecewise_linear": "certify.returns.objectives",
    "project_categorical": "certify.returns.projections",
    "project_quantile": "certify.returns.projections",
    "return_distribution": "certify.returns.evaluation",
    "target_return": "certify.returns.objectives",
    "wasserstein": "certify.returns.laws",
}
"""Public name to the module that defines it."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
