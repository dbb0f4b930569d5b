"""Reward certificates by policy smoothing: sample noisy episodes of a policy, certify its return against a budgeted adversary.

A policy file goes through `load_policy`, `sample_returns` and `certify_curve` to a `RewardCertificate`.  Names load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certify.smoothing.returns import Returns as Returns

_HOMES = {
    "Returns": "certify.smoothing.returns",
}
"""Public name to the module that defines it."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
