"""Checks of return distributions: the base theory (`base`), the paper (`paper`) and the negative results (`negative`)."""

from __future__ import annotations

from verify.check import Check
from verify.checks.distributional_dp import base, negative, paper

CHECKS: tuple[Check, ...] = (*base.CHECKS, *paper.CHECKS, *negative.CHECKS)
