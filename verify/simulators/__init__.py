"""Regret simulators: learning algorithms for average-reward models, compiled, one signature.

`simulate(instance, algorithm=..., steps=..., seeds=...)` runs independent replicates in threads; every replicate draws from its own
counter-based stream, so that results depend neither on the number of workers nor on the other replicates.
Names load on first use, so that `import verify.simulators` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verify.simulators.dispatch import ALGORITHMS as ALGORITHMS
    from verify.simulators.dispatch import simulate as simulate
    from verify.simulators.dispatch import theoretical_bound as theoretical_bound
    from verify.simulators.envelope import Envelope as Envelope
    from verify.simulators.envelope import Slope as Slope
    from verify.simulators.envelope import fit_slope as fit_slope
    from verify.simulators.envelope import gap_envelope as gap_envelope
    from verify.simulators.finite import loop as loop
    from verify.simulators.finite import mle_loop as mle_loop
    from verify.simulators.instances import LinearMixture as LinearMixture
    from verify.simulators.instances import hard_class as hard_class
    from verify.simulators.instances import hard_features as hard_features
    from verify.simulators.instances import parse_instance as parse_instance
    from verify.simulators.linear import olsvi_fh as olsvi_fh
    from verify.simulators.linear import ucrl2_vtr as ucrl2_vtr
    from verify.simulators.run import RegretRun as RegretRun
    from verify.simulators.tabular import optimistic_policy as optimistic_policy
    from verify.simulators.tabular import ucrl2 as ucrl2

_HOMES: dict[str, str] = {
    **dict.fromkeys(("ALGORITHMS", "simulate", "theoretical_bound"), "verify.simulators.dispatch"),
    **dict.fromkeys(("Envelope", "Slope", "fit_slope", "gap_envelope"), "verify.simulators.envelope"),
    **dict.fromkeys(("loop", "mle_loop"), "verify.simulators.finite"),
    **dict.fromkeys(("LinearMixture", "hard_class", "hard_features", "parse_instance"), "verify.simulators.instances"),
    **dict.fromkeys(("olsvi_fh", "ucrl2_vtr"), "verify.simulators.linear"),
    "RegretRun": "verify.simulators.run",
    **dict.fromkeys(("optimistic_policy", "ucrl2"), "verify.simulators.tabular"),
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
