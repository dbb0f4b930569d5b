"""Checks of DR-RPO: softmax step, soft robust Bellman equation, optimism, rates, stalls and lower limits.  Source: dr_rpo."""

from theory.dr_rpo import GUARANTEES
from verify.check import Check
from verify.checks.dr_rpo import _bellman, _learning, _softmax

__all__ = ["CHECKS"]

_FOUND = {check.key: check for module in (_softmax, _bellman, _learning) for check in module.CHECKS}

CHECKS: tuple[Check, ...] = tuple(_FOUND[guarantee.key] for guarantee in GUARANTEES)
"""One check for each guarantee, in the order of the catalogue."""
