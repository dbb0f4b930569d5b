"""Reward certificates by policy smoothing: sample noisy episodes of a policy, certify its return against a budgeted adversary.

A policy file goes through `load_policy`, `sample_returns` and `certify_curve` to a `RewardCertificate`.  Names load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certify.smoothing._networks import CallablePolicy as CallablePolicy
    from certify.smoothing._networks import CnnPolicy as CnnPolicy
    from certify.smoothing._networks import Head as Head
    from certify.smoothing._networks import MlpPolicy as MlpPolicy
    from certify.smoothing._networks import Policy as Policy
    from certify.smoothing.agreement import Agreement as Agreement
    from certify.smoothing.agreement import compare_returns as compare_returns
    from certify.smoothing.attack import AttackResult as AttackResult
    from certify.smoothing.bands import clopper_pearson_lower as clopper_pearson_lower
    from certify.smoothing.bands import dkw_deviation as dkw_deviation
    from certify.smoothing.bands import equal_local_level as equal_local_level
    from certify.smoothing.bands import survival_band as survival_band
    from certify.smoothing.betting import BettingCertificate as BettingCertificate
    from certify.smoothing.betting import ordering_bound as ordering_bound
    from certify.smoothing.certificates import RewardCertificate as RewardCertificate
    from certify.smoothing.certificates import certified_budget as certified_budget
    from certify.smoothing.certificates import certified_radius as certified_radius
    from certify.smoothing.certificates import certified_threshold as certified_threshold
    from certify.smoothing.certificates import certify_curve as certify_curve
    from certify.smoothing.comparators import Comparator as Comparator
    from certify.smoothing.comparators import compare_bounds as compare_bounds
    from certify.smoothing.families import corridor_game as corridor_game
    from certify.smoothing.families import fork_game as fork_game
    from certify.smoothing.families import random_game as random_game
    from certify.smoothing.games import Game as Game
    from certify.smoothing.games import best_static as best_static
    from certify.smoothing.games import clean_return_law as clean_return_law
    from certify.smoothing.games import static_value as static_value
    from certify.smoothing.games import worst_case_by_start as worst_case_by_start
    from certify.smoothing.games import worst_case_per_step as worst_case_per_step
    from certify.smoothing.games import worst_case_value as worst_case_value
    from certify.smoothing.normalisation import Normalisation as Normalisation
    from certify.smoothing.normalisation import load_normalisation as load_normalisation
    from certify.smoothing.planner import Plan as Plan
    from certify.smoothing.planner import plan as plan
    from certify.smoothing.policies import default_policy_path as default_policy_path
    from certify.smoothing.policies import load_policy as load_policy
    from certify.smoothing.protocols import Protocol as Protocol
    from certify.smoothing.quantiles import QuantileCertificate as QuantileCertificate
    from certify.smoothing.quantiles import certify_quantile as certify_quantile
    from certify.smoothing.report import plot_certificate as plot_certificate
    from certify.smoothing.report import write_certificate_page as write_certificate_page
    from certify.smoothing.returns import Returns as Returns
    from certify.smoothing.sampling import noise_limit as noise_limit
    from certify.smoothing.sampling import sample_returns as sample_returns
    from certify.smoothing.store import read_store as read_store
    from certify.smoothing.store import sample_into_store as sample_into_store
    from certify.smoothing.strata import StratifiedCertificate as StratifiedCertificate
    from certify.smoothing.strata import certify_stratified as certify_stratified

_HOMES = {
    **dict.fromkeys(("Agreement", "compare_returns"), "certify.smoothing.agreement"),
    "AttackResult": "certify.smoothing.attack",
    **dict.fromkeys(("read_store", "sample_into_store"), "certify.smoothing.store"),
    **dict.fromkeys(("clopper_pearson_lower", "dkw_deviation"), "certify.smoothing.bands"),
    **dict.fromkeys(("BettingCertificate", "ordering_bound"), "certify.smoothing.betting"),
    **dict.fromkeys(("Comparator", "compare_bounds"), "certify.smoothing.comparators"),
    **dict.fromkeys(("random_game",), "certify.smoothing.families"),
    **dict.fromkeys(("clean_return_law", "static_value", "worst_case_by_start", "worst_case_per_step"), "certify.smoothing.games"),
    **dict.fromkeys(("Plan", "plan"), "certify.smoothing.planner"),
    **dict.fromkeys(("QuantileCertificate", "certify_quantile"), "certify.smoothing.quantiles"),
    **dict.fromkeys(("plot_certificate", "write_certificate_page"), "certify.smoothing.report"),
    **dict.fromkeys(("StratifiedCertificate", "certify_stratified"), "certify.smoothing.strata"),
    **dict.fromkeys(("CallablePolicy", "CnnPolicy", "Head", "MlpPolicy", "Policy"), "certify.smoothing._networks"),
    **dict.fromkeys(("equal_local_level", "survival_band"), "certify.smoothing.bands"),
    **dict.fromkeys(
        ("RewardCertificate", "certified_budget", "certified_radius", "certified_threshold", "certify_curve"), "certify.smoothing.certificates"
    ),
    **dict.fromkeys(("corridor_game", "fork_game"), "certify.smoothing.families"),
    **dict.fromkeys(("Game", "best_static", "worst_case_value"), "certify.smoothing.games"),
    **dict.fromkeys(("Normalisation", "load_normalisation"), "certify.smoothing.normalisation"),
    **dict.fromkeys(("default_policy_path", "load_policy"), "certify.smoothing.policies"),
    "Protocol": "certify.smoothing.protocols",
    "Returns": "certify.smoothing.returns",
    **dict.fromkeys(("noise_limit", "sample_returns"), "certify.smoothing.sampling"),
}
"""Public name to the module that defines it."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
