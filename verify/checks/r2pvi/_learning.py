"""What the offline learners promise: printed constants, coverage, rates, the data-split certificate (G9 with its variants, G11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.robust.datasets import OfflineDataset, sample_dataset
from certify.robust.offline import r2pvi
from theory import r2pvi as formulas
from verify.check import Check, Control
from verify.checks.r2pvi import _figures as figures
from verify.checks.r2pvi._functionals import _g
from verify.checks.r2pvi._models import Model, Solution, collect, random_model, solve, worst_rows
from verify.statistics import anytime_rate
from verify.types import Basis, Claim, Estimate, Instance, Slack

FloatArray = NDArray[np.float64]

DELTA = 0.1
"""Failure probability that the algorithms are asked for."""

EXCLUDED, _ALPHA = 2.5, 1e-4
"""A failure rate of so many times DELTA must be excluded, and the failure probability of a check of coverage."""

SIZES = (250, 1000, 4000, 16000)


@lru_cache(maxsize=16)
def learning_model(draw: int) -> Model:
    """Return the model of the learning checks: five states, three actions, three factors, three steps."""
    return random_model(draw, horizon=3)


@lru_cache(maxsize=16)
def _nominal(draw: int) -> Any:
    return learning_model(draw).linear()


def data(draw: int, trajectories: int, seed: int) -> OfflineDataset:
    """Return trajectories of the uniform policy in a learning model."""
    return sample_dataset(_nominal(draw), trajectories=trajectories, seed=seed)


def price_of(params: Any) -> dict[str, Any]:
    """Return the arguments of `solve` for an instance."""
    return {"divergence": params["divergence"], params["price"]: params["size"]}


def learner(params: Any, shrink: float = 1.0) -> dict[str, Any]:
    """Return the arguments of `r2pvi` for an instance, printed constants made smaller by `shrink`."""
    method = "r2pvi" if params["price"] == "penalty" else {"tv": "drpvi", "kl": "drvi-l"}[params["divergence"]]
    beta = params["beta"]
    if beta == "printed" and shrink != 1.0:
        shape = {"dimension": 3, "horizon": 3, "trajectories": params["trajectories"], "delta": DELTA}
        full = (
            formulas.drpvi_coefficient(**shape) if method == "drpvi"
            else formulas.printed_coefficient(params["divergence"], penalty=params["size"], **shape))
        beta = shrink * full
    return {"method": method, **price_of(params), "beta": beta, "ridge": params["ridge"], "delta": DELTA}


def misses(params: Any, shrink: float, seed: int, first: int, last: int) -> int:
    """Count the data sets first..last-1 on which an error exceeds the pessimism made smaller by `shrink`, or a bound is on the wrong side."""
    model = learning_model(params["draw"])
    best = solve(model, **price_of(params))
    arguments = learner(params, shrink)
    # a printed constant is made smaller in the learner, the data-split one in the comparison
    share = 1.0 if params["beta"] == "printed" else shrink
    count = 0
    for replica in range(first, last):
        found = r2pvi(data(params["draw"], params["trajectories"], seed + replica), model.features, model.weights, **arguments)
        count += _missed(model, best.value[0], found, params, share)
    return count


def _missed(model: Model, best: FloatArray, found: Any, params: Any, shrink: float) -> bool:
    value = np.concatenate([found.value, np.zeros((1, found.value.shape[1]))])
    for h in range(model.horizon - 1):
        exact = _worst(model.factors[h], value[h + 1], params)
        if np.any(np.abs(model.features @ (found.weights[h] - exact)) > shrink * (model.features @ found.bonus[h]) + 1e-9):
            return True
    own = solve(model, policy=found.policy, **price_of(params)).value[0]
    return bool(shrink == 1.0 and (np.any(found.lower > own + 1e-9) or np.any(best > found.upper + 1e-9)))


def _worst(factors: FloatArray, value: FloatArray, params: Any) -> FloatArray:

    return worst_rows(value, factors, divergence=params["divergence"], **{params["price"]: params["size"]})[0]


def coverage_sides(instance: Instance, seed: int, shrink: float = 1.0) -> tuple[Estimate, Estimate]:
    """Share of data sets on which a regression error exceeds the pessimism or a bound fails, against delta; drawn until it is decided."""
    params = instance.params
    rate = anytime_rate(
        lambda first, last: misses(params, shrink, seed % (1 << 40), first, last), DELTA, alternative=EXCLUDED, failure=_ALPHA / 6, limit=params["runs"], batch=15)
    return rate, Estimate.exact(DELTA)


def _shrunken(factor: float) -> Callable[[Instance, int], tuple[Estimate, Estimate]]:
    def sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
        """The same with the pessimism made smaller."""
        return coverage_sides(instance, seed, shrink=factor)

    return sides


Instances = Callable[[str, int], Iterator[Instance]]


def _coverage_instances(beta: str, cases: tuple[tuple[str, str, float], ...], ridge: float, runs_of: tuple[int, int] = (120, 600)) -> Instances:
    def instances(budget: str, seed: int) -> Iterator[Instance]:
        runs = runs_of[0] if budget == "quick" else runs_of[1]
        for divergence, price, size in cases:
            yield Instance(f"{divergence}, {price} {size}", {
                "divergence": divergence, "price": price, "size": size, "beta": beta, "ridge": ridge, "draw": 0, "trajectories": 240, "runs": runs})

    return instances


def uncovered_model() -> Model:
    """Return the learning model with one factor for each action, so that an action that is never played leaves its factor unvisited."""
    model = learning_model(0)
    return Model(np.tile(np.eye(3)[None], (5, 1, 1)), model.factors, np.tile([0.1, 0.2, 0.9], (3, 1)))


@lru_cache(maxsize=8)
def curves(replicas: int) -> dict[str, FloatArray]:
    """Return bound sum and regression error of R2PVI-KL, and the bound sum without coverage, for every size in SIZES and replica."""
    model, bare = learning_model(0), uncovered_model()
    best, lost = (solve(m, "kl", penalty=0.5) for m in (model, bare))
    nominal, behaviour = bare.linear(), np.tile([0.5, 0.5, 0.0], (5, 1))
    out = {name: np.zeros((len(SIZES), replicas)) for name in ("bound", "error", "uncovered")}
    for k, trajectories in enumerate(SIZES):
        for r in range(replicas):
            found = r2pvi(data(0, trajectories, 7000 + r), model.features, model.weights, divergence="kl", penalty=0.5, beta=0.1)
            out["bound"][k, r] = _width(model, best, found.deviation)
            # the step before the last regresses a value that is known exactly, so that its error is that of the regression alone
            value = np.clip(model.features @ model.weights[-1] - model.features @ found.bonus[-1], 0.0, 1.0).max(axis=1)
            exact = _worst(model.factors[-2], value, {"divergence": "kl", "price": "penalty", "size": 0.5})
            out["error"][k, r] = np.abs(found.weights[-2] - exact).mean()
            partial = sample_dataset(nominal, trajectories=trajectories, policy=behaviour, seed=7000 + r)
            found = r2pvi(partial, bare.features, bare.weights, divergence="kl", penalty=0.5, beta=0.1)
            out["uncovered"][k, r] = _width(bare, lost, found.deviation)
    return out


def _width(model: Model, best: Solution, deviation: FloatArray) -> float:
    """Return the expected sum of phi_i sqrt((Lambda^-1)_ii) of the best policy under its worst kernel from state 0."""
    widths = np.einsum("sad,hd->hsa", model.features, deviation)
    return float(collect(model, best.policy, best.kernel, widths)[0, 0])


def slope(sizes: Any, values: FloatArray) -> tuple[float, float]:
    """Return the log-log slope of the row means and its standard error from the spread of the columns."""
    x = np.log(np.asarray(sizes, dtype=float))
    centre = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    mean = values.mean(axis=1)
    spread = values.std(axis=1, ddof=1) / np.sqrt(values.shape[1]) / mean
    return float(centre @ np.log(mean)), float(np.sqrt((centre**2 * spread**2).sum()))


def _fitted(value: float, error: float) -> Estimate:
    return Estimate(value, value - 2.0 * error, value + 2.0 * error, basis=Basis.FITTED)


def _rate_instances(budget: str, seed: int) -> Iterator[Instance]:
    for name in ("bound", "error"):
        yield Instance(f"slope of the {name}", {"curve": name, "replicas": 24 if budget == "quick" else 200})


def rate_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Log-log slope against the number of trajectories, and the window around -1/2."""
    found = slope(SIZES, curves(instance.params["replicas"])[instance.params["curve"]])
    return _fitted(*found), Estimate.enclosed(-0.6, -0.4)


def _without_coverage(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Slope of the bound sum when the best action is never played in the data."""
    return _fitted(*slope(SIZES, curves(instance.params["replicas"])["uncovered"])), Estimate.enclosed(-0.6, -0.4)


def local_loss(trajectories: int, replicas: int, seed: int, *, gap: float | None = None, beta: float = 0.1, penalty: float = 1.0) -> FloatArray:
    """Return losses of R2PVI-KL on the local family: two arms, H = 2, success probabilities .4 +- .75/sqrt(N), ridge 1.

    Closed form of the algorithm for one-hot features: the counts of each arm are sufficient.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, trajectories]))
    success = 0.4 + np.array([1.0, -1.0]) * (0.75 / np.sqrt(trajectories) if gap is None else gap)
    first = rng.binomial(trajectories, 0.5, replicas)
    pulls = np.stack([first, trajectories - first], axis=1)
    wins = rng.binomial(pulls, success)
    # a success leads to a reward 1 at the second step, known exactly there
    moment = (wins * np.exp(-1.0 / penalty) + (pulls - wins)) / (pulls + 1.0)
    estimate = -penalty * np.log(np.maximum(moment, np.exp(-2.0 / penalty))) - beta / np.sqrt(pulls + 1.0)
    chosen = np.clip(estimate, 0.0, 2.0).argmax(axis=1)
    value = -penalty * np.log(success * np.exp(-1.0 / penalty) + 1.0 - success)
    return np.asarray(value.max() - value[chosen])


_SHARES = {
    "two factors, evenly": ((0.5, 0.5),) * 3,
    "three factors, evenly": ((1 / 3, 1 / 3, 1 / 3),) * 3,
    "unevenly": ((0.7, 0.3), (0.4, 0.6)),
    "another share at every step": ((0.5, 0.3, 0.2), (0.1, 0.1, 0.8), (0.2, 0.6, 0.2), (0.4, 0.3, 0.3)),
}


def covered_sum(shares: Any, trajectories: int, delta: float) -> float:
    """Return what sum_h phi_i sqrt((Lambda_h^-1)_ii) exceeds with probability at most delta, for one-hot features that occur with these shares.

    Then Lambda_h is diagonal with 1 + N_{h,i}, N binomial: the exact quantile of every count, delta shared among all of them.
    """
    from scipy.stats import binom

    part = delta / sum(len(row) for row in shares)
    return float(sum(1.0 / np.sqrt(1.0 + binom.ppf(part, trajectories, np.asarray(row)).min()) for row in shares))


def covered_size(shares: Any, delta: float) -> tuple[float, int]:
    """Return kappa and the printed number of trajectories."""
    kappa = float(min(min(row) for row in shares))
    shape = {"dimension": len(shares[0]), "horizon": len(shares)}
    return kappa, int(np.ceil(formulas.coverage_trajectories(coverage=kappa, delta=delta, **shape)))


def _covered_instances(budget: str, seed: int) -> Iterator[Instance]:
    for name, shares in _SHARES.items():
        for times in (1, 10) if budget == "quick" else (1, 2, 5, 10, 100):
            yield Instance(f"{name}, {times} times the trajectories", {"shares": shares, "times": times, "delta": DELTA})


def covered_sides(instance: Instance, seed: int, constant: float = 1.0) -> tuple[Estimate, Estimate]:
    """Quantile of twice the sum behind beta, and the printed bound over beta times a constant."""
    shares, delta = instance.params["shares"], instance.params["delta"]
    kappa, enough = covered_size(shares, delta)
    K = enough * instance.params["times"]
    bound = formulas.coverage_bound(constant, horizon=len(shares), trajectories=K, coverage=kappa)
    return Estimate.exact(2.0 * covered_sum(shares, K, delta)), Estimate.exact(float(bound))


def _half_covered(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The same with half of the printed bound."""
    return covered_sides(instance, seed, constant=0.5)


LOCAL_SIZES = tuple(4**k for k in range(3, 9))


def _local_instances(budget: str, seed: int) -> Iterator[Instance]:
    yield Instance("N = 4^3 to 4^8", {"replicas": 20000 if budget == "quick" else 200000, "fixed": False})


def local_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Log-log slope of the mean loss on the local family, and the window -.49 +- .05."""
    gap = 0.75 / 8.0 if instance.params["fixed"] else None
    losses = np.stack([local_loss(n, instance.params["replicas"], seed % (1 << 40), gap=gap) for n in LOCAL_SIZES]) + 1e-12
    return _fitted(*slope(LOCAL_SIZES, losses)), Estimate.enclosed(-0.54, -0.44)


def _fixed_gap(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The same with a gap that does not shrink."""
    return local_sides(Instance(instance.name, {**instance.params, "fixed": True}), seed)


_COVERAGE = Claim("<=", alternative=EXCLUDED)
_WINDOW = Claim("within", Slack(0.0))
_REGULARISED = (("tv", "penalty", 0.5), ("kl", "penalty", 0.5), ("chi2", "penalty", 0.5))


def _coverage_check(
    number: str, beta: str, cases: tuple[tuple[str, str, float], ...], ridge: float, control: tuple[str, float], figure: Any, seconds: float,
) -> Check:
    """Return the check of a certificate; a control needs few runs, because it fails on most of them."""
    name, shrink = control
    fewer = _coverage_instances(beta, cases[:2], ridge, (30, 60))
    return Check(
        _g(number), _COVERAGE, _coverage_instances(beta, cases, ridge), coverage_sides, (Control(name, _shrunken(shrink), instances=fewer),), figure,
        alpha=_ALPHA, cost={"quick": seconds, "full": 12.0 * seconds})


CHECKS: tuple[Check, ...] = (
    _coverage_check("G9", "printed", _REGULARISED, 1.0, ("a hundred-thousandth of the printed constant", 1e-5), figures.printed, 4.0),
    Check(_g("G9-coverage"), Claim("<="), _covered_instances, covered_sides, (Control("half of the printed bound", _half_covered),), figures.covered,
          cost={"quick": 0.5, "full": 1.0}),
    Check(_g("G9-rate"), _WINDOW, _rate_instances, rate_sides, (Control("no coverage of the best action", _without_coverage),), figures.rate,
          cost={"quick": 3.0, "full": 25.0}),
    Check(_g("G9-local"), _WINDOW, _local_instances, local_sides, (Control("a gap that does not shrink", _fixed_gap),), figures.local,
          cost={"quick": 0.5, "full": 5.0}),
    _coverage_check("G9-split", "split-certificate", (*_REGULARISED, ("tv", "radius", 0.2), ("kl", "radius", 0.2)), 0.1,
                    ("a tenth of the pessimism", 0.1), figures.certificate, 6.0),
    _coverage_check("G11", "printed", (("tv", "radius", 0.2),), 1.0, ("a thousandth of the printed constant", 1e-3), figures.drpvi, 2.0),
)
