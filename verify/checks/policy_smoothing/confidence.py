"""Checks of confidence: exact miss probabilities of the certificates by enumeration of all samples, and of order statistics.

The law has the atoms 0, 1, 2, so the counts (x_1, x_2) of episodes that reach 1 and 2 are all that a certificate sees, and its
probability of exceeding rho_c is a finite sum.

Source: policy_smoothing, G8a to G8c and G9.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from theory import policy_smoothing as bound
from verify.check import Check, Control
from verify.checks.policy_smoothing import _figures
from verify.checks.policy_smoothing._common import floats, guarantee
from verify.types import Claim, Estimate, Instance, Slack, Verdict

__all__ = ["CHECKS", "crossing_by_binomials", "miss_probability"]

FloatArray = NDArray[np.float64]

_ALPHA = 0.05
_LAWS = {
    "near-perfect": (0.001, 0.0, 0.999),
    "skewed": (0.02, 0.08, 0.9),
    "uniform": (1 / 3, 1 / 3, 1 / 3),
    "two values": (0.1, 0.0, 0.9),
}


@cache
def _outcomes(n: int, law: tuple[float, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Return all (x_1, x_2) with x_1 >= x_2 and their probabilities."""
    from scipy.special import gammaln, xlogy

    x1, x2 = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    keep = x1 >= x2
    x1, x2 = x1[keep], x2[keep]
    cells = (n - x1, x1 - x2, x2)
    logarithm = gammaln(n + 1) + sum(xlogy(k, p) - gammaln(k + 1) for k, p in zip(cells, law, strict=True))
    return x1, x2, np.exp(logarithm)


def miss_probability(n: int, law: tuple[float, ...], c: float, lower: FloatArray, miss: FloatArray) -> float:
    """Return the exact probability that g_c of the limits for the two counts adds up to more than rho_c of the law."""
    x1, x2, weight = _outcomes(n, law)
    kept = bound.gaussian_shift(lower, c, complement=miss)
    truth = bound.wang_transform([0.0, 1.0, 2.0], law, c)
    return float(weight[kept[x1] + kept[x2] > truth * (1.0 + 1e-12)].sum())


def _limits(n: int, band: str, thresholds: int) -> tuple[FloatArray, FloatArray]:
    from certify.smoothing.bands import survival_band

    limits = survival_band(np.arange(n + 1), n, alpha=_ALPHA, band=band, thresholds=thresholds)
    return limits.lower, limits.miss


def _cells(budget: str, bands: tuple[str, ...]) -> Iterable[Instance]:
    for band in bands:
        for n in (40, 150) if budget == "quick" else (40, 150, 600):
            for name, law in _LAWS.items():
                for c in (0.5, 1.5, 3.0):
                    yield Instance(f"{band}, {name}, n={n}, c={c:g}", {"band": band, "n": n, "law": list(law), "c": c})


def _coverage_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Exact probability that the certificate exceeds rho_c, summed over all samples, against alpha = .05."""
    p = instance.params
    n = int(p["n"])
    thresholds = {"fixed": 2, "single": 1}.get(str(p.get("kind")), n)
    limits = _limits(n, str(p["band"]), thresholds)
    return floats(miss_probability(n, tuple(p["law"]), float(p["c"]), *limits)), floats(_ALPHA)


def _plugin(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    n = int(instance.params["n"])
    return floats(miss_probability(n, tuple(instance.params["law"]), float(instance.params["c"]), *_limits(n, "plugin", 1))), floats(_ALPHA)


def _union_instances(budget: str, seed: int) -> Iterable[Instance]:
    from certify.smoothing.bands import clopper_pearson_lower

    yield from _cells(budget, ("clopper-pearson",))
    for instance in _cells(budget, ("clopper-pearson",)):
        yield Instance(f"{instance.name}, fixed thresholds", {**instance.params, "kind": "fixed"})
    for n, k in ((50, 45), (200, 199)):
        p = float(clopper_pearson_lower([k], n, _ALPHA)[0][0]) * (1.0 - 1e-9)
        yield Instance(
            f"one threshold, n={n}, p just below a limit", {"band": "clopper-pearson", "n": n, "law": [1.0 - p, 0.0, p], "c": 1.0, "kind": "single"}
        )


def _double_level(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    from certify.smoothing.bands import clopper_pearson_lower

    n = int(instance.params["n"])
    lower, miss = clopper_pearson_lower(np.arange(n + 1), n, 2.0 * _ALPHA)
    return floats(miss_probability(n, tuple(instance.params["law"]), float(instance.params["c"]), lower, miss)), floats(_ALPHA)


def _single_double(budget: str, seed: int) -> Iterable[Instance]:
    from certify.smoothing.bands import clopper_pearson_lower

    p = float(clopper_pearson_lower([45], 50, 2.0 * _ALPHA)[0][0]) * (1.0 - 1e-9)
    yield Instance("one threshold at twice the level", {"band": "clopper-pearson", "n": 50, "law": [1.0 - p, 0.0, p], "c": 1.0, "kind": "single"})


_G8A = Check(
    guarantee=guarantee("G8a"),
    claim=Claim("<=", slack=Slack(absolute=1e-9)),
    instances=_union_instances,
    sides=_coverage_sides,
    controls=(
        Control("observed frequencies in place of limits", _plugin),
        Control("limits at level 2 alpha", _double_level, instances=_single_double),
    ),
    figure=_figures.bands,
    cost={"quick": 6.0, "full": 10.0},
)


def _dkw_instances(budget: str, seed: int) -> Iterable[Instance]:
    return _cells(budget, ("dkw", "dkw-one-sided"))


def _dkw_third(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    from certify.smoothing.bands import dkw_deviation

    n = int(instance.params["n"])
    lower = np.maximum(np.arange(n + 1) / n - dkw_deviation(n, _ALPHA) / 3.0, 0.0)
    return floats(miss_probability(n, tuple(instance.params["law"]), float(instance.params["c"]), lower, 1.0 - lower)), floats(_ALPHA)


_G8B = Check(
    guarantee=guarantee("G8b"),
    claim=Claim("<=", slack=Slack(absolute=1e-9)),
    instances=_dkw_instances,
    sides=_coverage_sides,
    controls=(Control("observed frequencies in place of limits", _plugin), Control("a third of the deviation", _dkw_third)),
    figure=_figures.bands,
    cost={"quick": 1.0, "full": 5.0},
)


def _local_instances(budget: str, seed: int) -> Iterable[Instance]:
    for n in (1, 2, 5, 20, 60) if budget == "quick" else (1, 2, 5, 20, 60, 200):
        yield Instance(f"all order statistics together, n={n}", {"band": "crossing", "n": n})
    yield from _cells(budget, ("equal-local-level",))


def crossing_by_binomials(limits: FloatArray) -> float:
    """Return the probability that some order statistic of n uniforms exceeds its limit, by conditional binomial steps.

    An independent recursion: given l points below the last limit, the next interval gets a binomial share of the other n - l.
    """
    from scipy.special import gammaln, xlog1py, xlogy

    n = limits.size
    mass = np.zeros(n + 1)
    mass[0], last, crossed = 1.0, 0.0, 0.0
    for i, edge in enumerate(limits, start=1):
        share = min((edge - last) / (1.0 - last), 1.0)
        last = edge
        old = np.arange(n + 1)[:, None]
        gain = np.arange(n + 1)[None, :] - old
        free = n - old
        possible = gain >= 0
        k = np.where(possible, gain, 0)
        logarithm = gammaln(free + 1) - gammaln(k + 1) - gammaln(free - k + 1) + xlogy(k, share) + xlog1py(free - k, -share)
        mass = mass @ np.where(possible, np.exp(logarithm), 0.0)
        crossed += float(mass[:i].sum())
        mass[:i] = 0.0
    return crossed


def _local_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Exact probability that some limit fails (another recursion), or that the certificate exceeds rho_c, against alpha = .05."""
    if instance.params["band"] != "crossing":
        return _coverage_sides(instance, seed)
    from certify.smoothing.bands import equal_local_level

    n = int(instance.params["n"])
    return floats(_crossing_at(n, equal_local_level(n, _ALPHA))), floats(_ALPHA)


def _crossing_at(n: int, level: float) -> float:
    from certify.smoothing.bands import clopper_pearson_lower

    return crossing_by_binomials(np.maximum.accumulate(clopper_pearson_lower(np.arange(n, 0, -1), n, level)[1]))


def _local_without_union(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return floats(_crossing_at(int(instance.params["n"]), _ALPHA)), floats(_ALPHA)


def _local_slightly_more(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    from certify.smoothing.bands import equal_local_level

    n = int(instance.params["n"])
    return floats(_crossing_at(n, 1.01 * equal_local_level(n, _ALPHA))), floats(_ALPHA)


def _crossings(budget: str, seed: int) -> list[Instance]:
    return [i for i in _local_instances(budget, seed) if i.params["band"] == "crossing" and i.params["n"] > 1]


_G8C = Check(
    guarantee=guarantee("G8c"),
    claim=Claim("<=", slack=Slack(absolute=1e-9)),
    instances=_local_instances,
    sides=_local_sides,
    controls=(
        Control("level alpha for every order statistic", _local_without_union, instances=_crossings),
        Control("level 1 % too large", _local_slightly_more, instances=_crossings),
    ),
    figure=_figures.local_level,
    cost={"quick": 3.0, "full": 8.0},
)


# G9: quantiles


def _quantile_instances(budget: str, seed: int) -> Iterable[Instance]:
    for n in (100, 1000):
        for c in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0):
            yield Instance(f"n={n}, c={c:g}", {"n": n, "c": c, "q": 0.5})


def _order_statistic(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Exact probability that the certified order statistic of a continuous law exceeds its quantile, against alpha = .05."""
    from certify.smoothing.quantiles import order_index

    n, u = int(instance.params["n"]), float(bound.quantile_level(instance.params["q"], instance.params["c"]))
    return floats(_exceeds(order_index(n, u, _ALPHA), n, u)), floats(_ALPHA)


def _exceeds(k: int, n: int, u: float) -> float:
    """Return P(X_(k) > quantile at level u) = P(Bin(n, u) <= k - 1); 0 without an order statistic."""
    from scipy.stats import binom

    return float(binom.cdf(k - 1, n, u)) if k > 0 else 0.0


def published_miss(n: int, c: float, q: float = 0.5, alpha: float = _ALPHA) -> float:
    """Return at least how often the published script exceeds the quantile: its interpolation counted at the lower order statistic."""
    level = float(bound.published_quantile_level(q, c, n, alpha))
    return _exceeds(int(np.floor((n - 1) * level)) + 1, n, float(bound.quantile_level(q, c)))


def _published(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Exact probability that the published script's quantile exceeds the attacked median, against alpha = .05."""
    return floats(published_miss(int(instance.params["n"]), float(instance.params["c"]))), floats(_ALPHA)


def _next_order(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    from certify.smoothing.quantiles import order_index

    n, u = int(instance.params["n"]), float(bound.quantile_level(instance.params["q"], instance.params["c"]))
    return floats(_exceeds(order_index(n, u, _ALPHA) + 1, n, u)), floats(_ALPHA)


_G9 = Check(
    guarantee=guarantee("G9"),
    claim=Claim("<=", slack=Slack(absolute=1e-12)),
    instances=_quantile_instances,
    sides=_order_statistic,
    controls=(Control("the next order statistic", _next_order), Control("the published script", _published)),
    figure=_figures.quantile,
    cost={"quick": 1.0, "full": 1.0},
    box={"c": (0.1, 4.0)},
)

_G9_SDQN = Check(
    guarantee=guarantee("G9-sdqn"),
    claim=Claim("<=", slack=Slack(absolute=1e-12)),
    instances=_quantile_instances,
    sides=_published,
    controls=(Control("the order statistic of G9", _order_statistic, required=Verdict.HOLDS),),
    figure=_figures.quantile,
    expected=Verdict.VIOLATED,
    cost={"quick": 1.0, "full": 1.0},
    box={"c": (0.1, 4.0)},
)

CHECKS: tuple[Check, ...] = (_G8A, _G8B, _G8C, _G9, _G9_SDQN)
