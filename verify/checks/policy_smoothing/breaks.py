"""Checks of what breaks the bound, and of noise on an integer grid.

Source: policy_smoothing, G12 and G13.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from theory import policy_smoothing as bound
from verify.check import Check, Control
from verify.checks.policy_smoothing import _figures_more as _figures
from verify.checks.policy_smoothing._common import floats, guarantee
from verify.types import Claim, Estimate, Instance, Slack, binomial_estimate

__all__ = ["CHECKS", "adaptive_laplace", "best_static_laplace", "in_expectation", "table_noise"]

FloatArray = NDArray[np.float64]


# G12: one assumption dropped at a time


def _broken_instances(budget: str, seed: int) -> Iterable[Instance]:
    yield Instance("the adversary sees the noise first", {"case": "sees", "p": 0.5, "c": 1.0})
    yield Instance("one noise vector for all steps leaks through actions", {"case": "sees", "p": 0.5, "c": 1.0, "leaks": True})
    yield Instance("budget in expectation only", {"case": "expectation", "p": 0.9999, "c": 1.0})
    yield Instance("stacked copies noised afresh, k = 2", {"case": "copies", "p": 0.9, "c": 1.0, "k": 2})
    yield Instance("Laplace noise, adaptive split of the budget", {"case": "laplace", "p": 0.806, "c": 1.0})


def _broken_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Success probability under an attack that one assumption forbids, against g_c(p) (for Laplace noise: the best static split)."""
    p, c = float(instance.params["p"]), float(instance.params["c"])
    case = instance.params["case"]
    certified = floats(bound.gaussian_shift(p, c))
    if case == "sees":
        return floats(two_sided_test(p, c)), certified
    if case == "expectation":
        return floats(in_expectation(p, c)), certified
    if case == "copies":
        return floats(bound.gaussian_shift(p, c * math.sqrt(float(instance.params["k"])))), certified
    return floats(adaptive_laplace(p)), floats(best_static_laplace(p))


def two_sided_test(p: float, c: float) -> float:
    """Return P(|z| > t + c) with P(|z| > t) = p: success needs a large input, and who sees the noise moves it towards 0."""
    from scipy.special import ndtr, ndtri

    return float(2.0 * ndtr(ndtri(p / 2.0) - c))


def in_expectation(p: float, c: float) -> float:
    """Return the least success probability when an attack of c / sqrt(pi) is used with probability pi."""
    share = np.geomspace(1e-4, 1.0, 4000)
    return float(np.min(share * bound.gaussian_shift(p, c / np.sqrt(share), complement=1.0 - p) + (1.0 - share) * p))


def _laplace_ratio(delta: float) -> tuple[FloatArray, FloatArray]:
    """Return values and clean probabilities of the likelihood ratio of one shift of unit Laplace noise (quadrature between the atoms)."""
    if delta <= 0.0:
        return np.ones(1), np.ones(1)
    nodes, weights = np.polynomial.legendre.leggauss(24)
    x = 0.5 * delta * (nodes + 1.0)
    ratio = np.exp(np.r_[-delta, 2.0 * x - delta, delta])
    return ratio, np.r_[0.5, 0.25 * delta * weights * np.exp(-x), 0.5 * math.exp(-delta)]


def _product(a: tuple[FloatArray, FloatArray], b: tuple[FloatArray, FloatArray]) -> tuple[FloatArray, FloatArray]:
    return np.outer(a[0], b[0]).ravel(), np.outer(a[1], b[1]).ravel()


def _least(ratio: FloatArray, weight: FloatArray, p: float, multipliers: FloatArray) -> float:
    """Return the largest dual value over the multipliers: a lower limit of the least attacked probability at clean probability p."""
    return max(float(np.minimum(ratio, x) @ weight - x * (1.0 - p)) for x in multipliers)


def best_static_laplace(p: float) -> float:
    """Return a lower limit of what any split of B = 1 over three steps, chosen in advance, leaves of p under unit Laplace noise."""
    multipliers = np.linspace(0.9, 2.2, 14)
    best = 1.0
    for first in np.linspace(1.0 / math.sqrt(3.0), 1.0, 18):
        rest = math.sqrt(max(1.0 - first * first, 0.0))
        for angle in np.linspace(0.0, math.pi / 4.0, 9):
            second, third = rest * math.cos(angle), rest * math.sin(angle)
            law = _product(_product(_laplace_ratio(first), _laplace_ratio(second)), _laplace_ratio(third))
            best = min(best, _least(*law, p, multipliers))
    return best


def adaptive_laplace(p: float, first: float = 0.3, multiplier: float = 1.5) -> float:
    """Return what an adaptive split leaves: after the first step, the rest of the budget goes to one step or to two, as the ratio tells."""
    rest = math.sqrt(1.0 - first * first)
    options = (_laplace_ratio(rest), _product(_laplace_ratio(rest / math.sqrt(2.0)), _laplace_ratio(rest / math.sqrt(2.0))))
    ratios, weights = [], []
    for ratio, weight in zip(*_laplace_ratio(first), strict=True):
        chosen = min(options, key=lambda law: float(np.minimum(ratio * law[0], multiplier) @ law[1]))
        ratios.append(ratio * chosen[0])
        weights.append(weight * chosen[1])
    ratio, weight = np.concatenate(ratios), np.concatenate(weights)
    return _least(ratio, weight, p, np.linspace(0.3, 3.0, 541))


def _restored(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The same attacks with the assumption restored."""
    p, c = float(instance.params["p"]), float(instance.params["c"])
    certified = floats(bound.gaussian_shift(p, c) - 1e-9)
    case = instance.params["case"]
    if case == "sees":
        from scipy.special import ndtr, ndtri

        t = -float(ndtri(p / 2.0))
        return floats(float(ndtr(-t - c) + ndtr(-t + c))), certified
    if case == "expectation":
        return floats(bound.gaussian_shift(p, c)), certified
    if case == "copies":
        return floats(bound.gaussian_shift(p, c)), certified
    return floats(best_static_laplace(p) + 1e-9), floats(best_static_laplace(p))


_G12 = Check(
    guarantee=guarantee("G12"),
    claim=Claim("<=", slack=0.0),
    instances=_broken_instances,
    sides=_broken_sides,
    controls=(Control("the assumption restored", _restored),),
    figure=_figures.broken,
    cost={"quick": 3.0, "full": 3.0},
)


# G13: table noise on a grid


def _table_instances(budget: str, seed: int) -> Iterable[Instance]:
    for bits in (16, 20, 32):
        for step in (0.125, 0.25) if budget == "quick" else (0.0625, 0.125, 0.25, 0.5):
            for c in (0.5, 1.0, 2.0):
                yield Instance(f"{bits}-bit table, grid {step:g} sigma, c={c:g}", {"bits": bits, "step": step, "c": c})


def table_noise(bits: int, step: float, c: float) -> tuple[FloatArray, FloatArray, float]:
    """Return clean and attacked probabilities of the half lines under table noise, and its total variation from the exact law.

    Integer noise k has P(k <= m) = Phi((m + 1/2) step); the table holds this rounded to `bits` bits.
    """
    from scipy.special import ndtr

    reach = math.ceil(9.0 / step)
    edges = np.arange(-reach, reach)
    exact = np.r_[ndtr((edges + 0.5) * step), 1.0]
    table = np.rint(exact * 2.0**bits) / 2.0**bits
    variation = 0.5 * float(np.abs(np.diff(table, prepend=0.0) - np.diff(exact, prepend=0.0)).sum())
    shift = round(c / step)
    return table[shift:], table[: table.size - shift], variation


def _table_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Exact attacked probabilities of all half lines under table noise, against g_c(p - eps) - eps."""
    p = instance.params
    clean, attacked, eps = table_noise(int(p["bits"]), float(p["step"]), float(p["c"]))
    return floats(attacked), floats(np.maximum(bound.gaussian_shift(np.maximum(clean - eps, 0.0), float(p["c"])) - eps, 0.0))


def _subtracted_once(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    p = instance.params
    clean, attacked, eps = table_noise(int(p["bits"]), float(p["step"]), float(p["c"]))
    return floats(attacked), floats(bound.gaussian_shift(np.maximum(clean - eps, 0.0), float(p["c"])))


def _off_grid(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """An attack of half a grid step and a little more, which rounding turns into a whole one, charged without the rounding."""
    p = instance.params
    step = float(p["step"])
    clean, attacked, eps = table_noise(int(p["bits"]), step, step)
    charged = 0.51 * step
    return floats(attacked), floats(np.maximum(bound.gaussian_shift(np.maximum(clean - eps, 0.0), charged) - eps, 0.0))


_G13 = Check(
    guarantee=guarantee("G13"),
    claim=Claim(">=", slack=Slack(absolute=1e-13)),
    instances=_table_instances,
    sides=_table_sides,
    controls=(Control("total variation subtracted once", _subtracted_once), Control("rounding not charged to the budget", _off_grid)),
    figure=_figures.table,
    cost={"quick": 1.0, "full": 1.0},
)


# G13: floating-point noise leaks


def _leak_instances(budget: str, seed: int) -> Iterable[Instance]:
    episodes = 1000 if budget == "quick" else 4000
    yield Instance("float32, 600 steps, o = 0 against 0.1", {"steps": 600, "episodes": episodes, "delta": 0.1, "grid": False})


def leak_counts(instance: Instance, seed: int, *, grid: bool) -> tuple[int, int]:
    """Count clean and attacked episodes in which some |x_t| < .05 is off (float32), or on (integer grid), the lattice of 2^-28 (2^-20)."""
    p = instance.params
    episodes, steps, delta = int(p["episodes"]), int(p["steps"]), float(p["delta"])
    rng = np.random.Generator(np.random.Philox(seed))
    counts = []
    for shift in (0.0, delta):
        found = 0
        for _ in range(0, episodes, 250):
            noise = rng.standard_normal((min(250, episodes), steps))
            if grid:
                x = (np.rint(shift * 2.0**20) + np.rint(noise * 2.0**20)) * 2.0**-20
                event = (np.abs(x) < 0.05) & (x * 2.0**20 == np.rint(x * 2.0**20))
            else:
                x = np.float32(shift) + noise.astype(np.float32)
                scaled = x.astype(np.float64) * 2.0**28
                event = (np.abs(x) < 0.05) & (scaled != np.rint(scaled))
            found += int(event.any(axis=1).sum())
        counts.append(found)
    return counts[0], counts[1]


def _leak(instance: Instance, seed: int, grid: bool) -> tuple[Estimate, Estimate]:
    from certify.smoothing.bands import clopper_pearson_lower

    p = instance.params
    episodes = int(p["episodes"])
    clean, attacked = leak_counts(instance, seed, grid=grid)
    lower, miss = clopper_pearson_lower([clean], episodes, 1e-6)
    c = float(p["delta"]) * math.sqrt(float(p["steps"]))
    return binomial_estimate(attacked, episodes, failure=1e-6), floats(float(bound.gaussian_shift_lower(lower[0], c, complement=miss[0])))


def _leak_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Frequency of a rounding pattern under a constant perturbation, against the certificate from clean episodes (false where below)."""
    return _leak(instance, seed, grid=False)


def _repaired(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return _leak(instance, seed, grid=True)


_G13_LEAK = Check(
    guarantee=guarantee("G13-leak"),
    claim=Claim("<=", quantifier="exists"),
    instances=_leak_instances,
    sides=_leak_sides,
    controls=(Control("noise added exactly on an integer grid", _repaired),),
    figure=_figures.leak,
    alpha=1e-6,
    cost={"quick": 1.0, "full": 3.0},
)

CHECKS: tuple[Check, ...] = (_G12, _G13, _G13_LEAK)
