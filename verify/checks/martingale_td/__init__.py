"""Checks of the martingale approach to continuous-time policy evaluation: exact moments on solvable models, two sampled claims."""

from verify.checks.martingale_td.fixed_points import CHECKS as FIXED_POINTS
from verify.checks.martingale_td.martingale import CHECKS as MARTINGALE
from verify.checks.martingale_td.rates import CHECKS as RATES

CHECKS = (*MARTINGALE, *FIXED_POINTS, *RATES)
