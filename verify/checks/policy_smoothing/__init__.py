"""Checks of policy smoothing: exact games, closed forms, exact coverage, sequential certificates, and what breaks the bound."""

from __future__ import annotations

from theory.policy_smoothing import GUARANTEES
from verify.check import Check
from verify.checks.policy_smoothing import breaks, confidence, formulas, games, sequential

__all__ = ["CHECKS"]

_ORDER = [guarantee.key for guarantee in GUARANTEES]

_ALL = (*games.CHECKS, *formulas.CHECKS, *confidence.CHECKS, *sequential.CHECKS, *breaks.CHECKS)

CHECKS: tuple[Check, ...] = tuple(sorted(_ALL, key=lambda check: _ORDER.index(check.key)))
