"""Whether a claim holds: estimates, checks, verdicts, the runner, the report and the command line.

Names load on first use, so that the command line starts without the numerical libraries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verify.check import Check as Check
    from verify.check import Control as Control
    from verify.registry import checks as checks
    from verify.runner import Result as Result
    from verify.runner import Run as Run
    from verify.runner import run as run
    from verify.types import Basis as Basis
    from verify.types import Claim as Claim
    from verify.types import Comparison as Comparison
    from verify.types import Estimate as Estimate
    from verify.types import Instance as Instance
    from verify.types import Slack as Slack
    from verify.types import Verdict as Verdict
    from verify.types import binomial_estimate as binomial_estimate

_HOMES = {
    "Basis": "verify.types",
    "Check": "verify.check",
    "Claim": "verify.types",
    "Comparison": "verify.types",
    "Control": "verify.check",
    "Estimate": "verify.types",
    "Instance": "verify.types",
    "Result": "verify.runner",
    "Run": "verify.runner",
    "Slack": "verify.types",
    "Verdict": "verify.types",
    "binomial_estimate": "verify.types",
    "checks": "verify.registry",
    "run": "verify.runner",
}

__all__ = [
    "Basis", "Check", "Claim", "Comparison", "Control", "Estimate", "Instance", "Result", "Run", "Slack", "Verdict", "binomial_estimate",
    "checks", "run",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
