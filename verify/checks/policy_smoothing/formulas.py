"""Checks of closed forms: the Gaussian law, the calculus of the Wang transform, and the bounds of later work in order.

Source: policy_smoothing, G1, G6, G10 and G11.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from theory import policy_smoothing as bound
from verify.check import Check, Control
from verify.checks.policy_smoothing import _figures
from verify.checks.policy_smoothing._common import floats, guarantee, law_of, law_strategy, random_laws
from verify.types import Claim, Estimate, Instance, Slack, Verdict

__all__ = ["CHECKS"]


# G1: the exact law


def _law_instances(budget: str, seed: int) -> Iterable[Instance]:
    for size in (0.5, 1.0, 2.0) if budget == "quick" else (0.25, 0.5, 1.0, 2.0, 4.0):
        for first in (0.3, 0.7):
            yield Instance(f"B={size:g}, first step {first:g} B", {"budget": size, "first": first, "k": [-1.5, -0.5, 0.0, 0.8, 2.0]})


def predictable_law(instance: Instance, *, spend_all: bool) -> np.ndarray:
    """Return P(M <= k c) for three steps whose second perturbation follows the first noise, by Gauss-Hermite quadrature."""
    from scipy.special import ndtr

    p = instance.params
    total = float(p["budget"])
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / math.sqrt(2.0 * math.pi)
    first = float(p["first"]) * total
    rest = math.sqrt(total**2 - first**2)
    share = 0.55 + 0.25 * np.sin(nodes)
    second = rest * np.sqrt(share)
    third = rest * np.sqrt(1.0 - share) * (1.0 if spend_all else 0.3)
    partial = first * nodes[:, None] + second[:, None] * nodes[None, :]
    k = np.asarray(p["k"], dtype=np.float64)
    inner = ndtr((k[:, None, None] * total - partial) / third[None, :, None])
    return np.asarray(np.einsum("kij,i,j->k", inner, weights, weights))


def _law_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Distribution function of M for a predictable split of the budget, by quadrature, against that of N(0, c^2)."""
    from scipy.special import ndtr

    return floats(predictable_law(instance, spend_all=True)), floats(ndtr(np.asarray(instance.params["k"], dtype=np.float64)))


def _unspent(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return floats(predictable_law(instance, spend_all=False)), _law_sides(instance, seed)[1]


_G1 = Check(
    guarantee=guarantee("G1"),
    claim=Claim("==", slack=1e-11),
    instances=_law_instances,
    sides=_law_sides,
    controls=(Control("budget left over on some paths", _unspent),),
    figure=_figures.exact_law,
    cost={"quick": 1.0, "full": 1.0},
)


# G6: calculus


def _calculus_instances(budget: str, seed: int) -> Iterable[Instance]:
    for c in (0.3, 1.0, 2.5):
        yield Instance(f"normal c={c:g}", {"law": "normal", "a": -2.0, "b": 3.0, "c": c})
        yield Instance(f"uniform c={c:g}", {"law": "uniform", "a": 0.0, "b": 1.0, "c": c})
        yield Instance(f"lognormal c={c:g}", {"law": "lognormal", "a": 0.2, "b": 0.6, "c": c})
        yield Instance(f"Bernoulli c={c:g}", {"law": "bernoulli", "a": 0.93, "b": 0.0, "c": c})
    rng = np.random.Generator(np.random.Philox(seed))
    for k in range(30 if budget == "quick" else 300):
        law = ("affine", "comonotone", "superadditive")[k % 3]
        size = int(rng.integers(2, 7))
        draws = {name: np.round(rng.normal(size=size), 3).tolist() for name in ("x", "y")}
        yield Instance(f"{law} pair {k}", {"law": law, **draws, "weights": rng.dirichlet(np.ones(size)).tolist(), "c": round(float(rng.uniform(0.1, 3)), 3)})


def _calculus_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The transform by quadrature of its spectral form, or of finite laws, against the closed form or the rule."""
    p = instance.params
    if p["law"] in ("affine", "comonotone", "superadditive"):
        return _rule(instance)
    return floats(_spectral(p["law"], p["a"], p["b"], p["c"])), floats(_closed(p["law"], p["a"], p["b"], p["c"]))


def _spectral(law: str, a: float, b: float, c: float) -> float:
    """Return E[F^-1(Phi(Z - c))] by composite Gauss-Legendre quadrature."""
    from scipy.special import ndtr

    nodes, weights = np.polynomial.legendre.leggauss(40)
    edges = np.linspace(-14.0, 14.0, 57)
    if law == "bernoulli":
        edges = np.union1d(edges, [float(bound.normal_quantile(1.0 - a)) + c])
    half = 0.5 * np.diff(edges)
    z = (half[:, None] * nodes + 0.5 * (edges[1:] + edges[:-1])[:, None]).ravel()
    w = (half[:, None] * weights).ravel() * np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    if law == "normal":
        quantile = a + b * (z - c)
    elif law == "uniform":
        quantile = a + (b - a) * ndtr(z - c)
    elif law == "lognormal":
        quantile = np.exp(a + b * (z - c))
    else:
        quantile = np.asarray(z - c > bound.normal_quantile(1.0 - a), dtype=np.float64)
    return float(w @ quantile)


def _closed(law: str, a: float, b: float, c: float) -> float:
    if law == "normal":
        return float(bound.normal_transform(a, b, c))
    if law == "uniform":
        return float(a + (b - a) * bound.uniform_transform(c))
    if law == "lognormal":
        return float(bound.lognormal_transform(a, b, c))
    return float(bound.bernoulli_transform(a, c))


def _rule(instance: Instance) -> tuple[Estimate, Estimate]:
    p = instance.params
    x, y, c = np.asarray(p["x"]), np.asarray(p["y"]), float(p["c"])
    w = np.asarray(p["weights"]) / np.sum(p["weights"])
    if p["law"] == "affine":
        return floats(bound.wang_transform(2.5 * x - 1.0, w, c)), floats(2.5 * bound.wang_transform(x, w, c) - 1.0)
    if p["law"] == "comonotone":
        x, y = np.sort(x), np.sort(y)
    parts = bound.wang_transform(x, w, c) + bound.wang_transform(y, w, c)
    together = bound.wang_transform(x + y, w, c)
    return floats(min(0.0, together - parts) if p["law"] == "superadditive" else together), floats(0.0 if p["law"] == "superadditive" else parts)


def _sum_of_parts(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    p = instance.params
    x, w, c = np.asarray(p["x"]), np.asarray(p["weights"]) / np.sum(p["weights"]), float(p["c"])
    return floats(bound.wang_transform(x, w, c) + bound.wang_transform(-x, w, c)), floats(bound.wang_transform(0.0 * x, w, c))


def _wrong_direction(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    p = instance.params
    return floats(_spectral(p["law"], p["a"], p["b"], p["c"])), floats(_closed(p["law"], p["a"], p["b"], -p["c"]))


def _pairs(budget: str, seed: int) -> list[Instance]:
    return [i for i in _calculus_instances(budget, seed) if i.params["law"] == "superadditive"]


def _closed_forms(budget: str, seed: int) -> list[Instance]:
    return [i for i in _calculus_instances(budget, seed) if i.params["law"] in ("normal", "uniform", "lognormal", "bernoulli")]


_G6 = Check(
    guarantee=guarantee("G6"),
    claim=Claim("==", slack=Slack(absolute=1e-12, relative=1e-12)),
    instances=_calculus_instances,
    sides=_calculus_sides,
    controls=(
        Control("a sum of certificates taken for the certificate of a sum", _sum_of_parts, instances=_pairs),
        Control("the shift with its sign turned", _wrong_direction, instances=_closed_forms),
    ),
    figure=_figures.calculus,
    cost={"quick": 1.0, "full": 2.0},
)


# G10: the hockey-stick dual


_ORDERS = np.geomspace(1e-3, 1e3, 49)


def _dual(values: np.ndarray, weights: np.ndarray, c: float, floor: float) -> float:
    return max(bound.recepes_bound(values, weights, float(order), c, floor=floor) for order in _ORDERS)


def _dual_instances(budget: str, seed: int) -> Iterable[Instance]:
    yield from random_laws(30 if budget == "quick" else 200, seed)


def _dual_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Largest dual certificate over 49 multipliers, against rho_c of the same law."""
    values, weights, c = law_of(instance)
    return floats(_dual(values, weights, c, float(values[0]))), floats(bound.wang_transform(values, weights, c))


def _dual_high_floor(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    values, weights, c = law_of(instance)
    return floats(_dual(values, weights, c, float(values[1]))), floats(bound.wang_transform(values, weights, c))


_G10 = Check(
    guarantee=guarantee("G10"),
    claim=Claim("<=", slack=Slack(absolute=1e-10)),
    instances=_dual_instances,
    sides=_dual_sides,
    controls=(Control("the second smallest value taken as the floor", _dual_high_floor),),
    figure=_figures.dual,
    cost={"quick": 1.0, "full": 5.0},
    strategy=law_strategy,
)


def _improvement_instances(budget: str, seed: int) -> Iterable[Instance]:
    yield from random_laws(10 if budget == "quick" else 100, seed + 1, atoms=(3, 8))


_G10_IMPROVES = Check(
    guarantee=guarantee("G10-improves"),
    claim=Claim(">=", slack=Slack(absolute=1e-10)),
    instances=_improvement_instances,
    sides=_dual_sides,
    controls=(Control("the opposite order", _dual_sides, required=Verdict.HOLDS, claim=Claim("<=", slack=Slack(absolute=1e-10))),),
    figure=_figures.dual,
    expected=Verdict.VIOLATED,
    cost={"quick": 1.0, "full": 3.0},
    strategy=law_strategy,
)


# G10 with the smallest return seen as the floor


def _minimum_instances(budget: str, seed: int) -> Iterable[Instance]:
    yield Instance("atom 2e-5 at 0, else 200", {"mass": 2e-5, "top": 200.0, "episodes": 10_000, "c": 5.0})
    yield Instance("atom 1e-5 at 0, else 200", {"mass": 1e-5, "top": 200.0, "episodes": 10_000, "c": 4.0})


def _minimum_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Exact probability that the certificate with the sample minimum as floor exceeds the attacked mean, against alpha = .05."""
    return floats(_miss_of_minimum(instance, use_minimum=True)), floats(0.05)


def _miss_of_minimum(instance: Instance, *, use_minimum: bool) -> float:
    p = instance.params
    mass, top, n, c = float(p["mass"]), float(p["top"]), int(p["episodes"]), float(p["c"])
    truth = bound.wang_transform([0.0, top], [mass, 1.0 - mass], c)
    unseen = math.exp(n * math.log1p(-mass))
    absent = -math.expm1(math.log(0.05) / n)
    certificate = top if use_minimum else bound.expected_return_bound([top], [1.0 - absent], c, complement=[absent])
    return unseen * float(certificate > truth)


def _true_floor(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return floats(_miss_of_minimum(instance, use_minimum=False)), floats(0.05)


_G10_MINIMUM = Check(
    guarantee=guarantee("G10-minimum"),
    claim=Claim("<="),
    instances=_minimum_instances,
    sides=_minimum_sides,
    controls=(Control("the true lower limit 0 as the floor", _true_floor, required=Verdict.HOLDS),),
    figure=_figures.sample_minimum,
    expected=Verdict.VIOLATED,
    cost={"quick": 0.5, "full": 0.5},
    box={"c": (0.5, 6.0), "mass": (1e-6, 1e-3)},
)


# G11: order of the mean bounds


def _order_instances(budget: str, seed: int) -> Iterable[Instance]:
    yield from random_laws(60 if budget == "quick" else 200, seed + 2)


def _order_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """TV, Lipschitz and CROP bounds of a random law, each against the one before it in the claimed order (rho_c first)."""
    values, weights, c = law_of(instance)
    chain = _chain(values, weights, c)
    return floats(chain[1:]), floats(chain[:-1])


def _chain(values: np.ndarray, weights: np.ndarray, c: float) -> np.ndarray:
    mean, low, high = float(values @ weights), float(values[0]), float(values[-1])
    later = (bound.total_variation_mean_bound, bound.lipschitz_mean_bound, bound.crop_mean_bound)
    return np.array([bound.wang_transform(values, weights, c), *(rule(mean, low, high, c) for rule in later)])


def _half_constant(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    values, weights, c = law_of(instance)
    mean, width = float(values @ weights), float(values[-1] - values[0])
    return floats(mean - width * c / (2.0 * math.sqrt(2.0 * math.pi))), floats(bound.wang_transform(values, weights, c))


_G11 = Check(
    guarantee=guarantee("G11"),
    claim=Claim("<=", slack=Slack(absolute=1e-12, relative=1e-12)),
    instances=_order_instances,
    sides=_order_sides,
    controls=(Control("the constant halved once more", _half_constant),),
    figure=_figures.order,
    cost={"quick": 1.0, "full": 1.0},
    strategy=law_strategy,
)

CHECKS: tuple[Check, ...] = (_G1, _G6, _G10, _G10_IMPROVES, _G10_MINIMUM, _G11)
