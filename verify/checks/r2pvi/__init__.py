"""Checks of R2PVI: duals, Bellman equation, pessimism, certificates, lower bounds, and the published findings that fail.  Source: r2pvi."""

from theory.r2pvi import GUARANTEES
from verify.check import Check
from verify.checks.r2pvi import _bellman, _functionals, _learning, _lower

__all__ = ["CHECKS"]

_FOUND = {check.key: check for module in (_functionals, _bellman, _learning, _lower) for check in module.CHECKS}

CHECKS: tuple[Check, ...] = tuple(_FOUND[guarantee.key] for guarantee in GUARANTEES)
"""One check for each guarantee, in the order of the catalogue."""
