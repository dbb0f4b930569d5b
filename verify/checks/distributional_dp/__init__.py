"""Checks of return distributions: base theory (`base`), optimality (`paper`), iterations (`iteration`), negative results (`negative`)."""

from __future__ import annotations

from verify.check import Check
from verify.checks.distributional_dp import base, iteration, negative, paper

CHECKS: tuple[Check, ...] = (*base.CHECKS, *paper.CHECKS, *iteration.CHECKS, *negative.CHECKS)
