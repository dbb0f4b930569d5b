"""Diffusions whose value functions are known in closed form: Brownian motion, Ornstein-Uhlenbeck, linear-quadratic, Black-Scholes.

Each model knows its value function, samples its transitions exactly or by Euler-Maruyama, and, where it maps polynomials to
polynomials, evaluates expectations without simulation.  Names load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdps.diffusions.black_scholes import BlackScholes as BlackScholes
    from mdps.diffusions.gaussian import BrownianMotion as BrownianMotion
    from mdps.diffusions.gaussian import OrnsteinUhlenbeck as OrnsteinUhlenbeck
    from mdps.diffusions.linear_quadratic import LinearQuadratic as LinearQuadratic
    from mdps.diffusions.paths import Paths as Paths
    from mdps.diffusions.polynomials import Polynomial as Polynomial
    from mdps.diffusions.polynomials import variables as variables

_HOMES = {
    "BlackScholes": "mdps.diffusions.black_scholes",
    "BrownianMotion": "mdps.diffusions.gaussian",
    "LinearQuadratic": "mdps.diffusions.linear_quadratic",
    "OrnsteinUhlenbeck": "mdps.diffusions.gaussian",
    "Paths": "mdps.diffusions.paths",
    "Polynomial": "mdps.diffusions.polynomials",
    "variables": "mdps.diffusions.polynomials",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
