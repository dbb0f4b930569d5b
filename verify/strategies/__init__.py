"""Hypothesis strategies for models, policies, laws, data and classes: valid by construction, small after shrinking.

Sizes are drawn first; each state is one string of bytes that becomes small integer weights and rewards, of which zero is the most common and
the simplest.  A row without weight is a loop to its own state, so the simplest model of all is one absorbing state without reward.
Exact zeros, absorbing states, ties, periodic chains and single actions are therefore frequent, and what is left after shrinking can
be read.
"""

from __future__ import annotations

from verify.strategies.data import datasets, diffusions, hypothesis_classes, policies
from verify.strategies.laws import RobustInstance, distributions, return_laws, robust_instances
from verify.strategies.models import LinearMixture, discounts, finite_horizon_mdps, linear_mdps, linear_mixtures, tabular_mdps

__all__ = [
    "LinearMixture", "RobustInstance", "datasets", "diffusions", "discounts", "distributions", "finite_horizon_mdps", "hypothesis_classes",
    "linear_mdps", "linear_mixtures", "policies", "return_laws", "robust_instances", "tabular_mdps",
]
