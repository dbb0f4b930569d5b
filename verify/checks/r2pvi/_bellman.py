"""The robust Bellman equation, its equivalences and the decomposition under pessimism (G5 to G8, G11-factor)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory import r2pvi as formulas
from verify.check import Check, Control
from verify.checks.r2pvi import _figures as figures
from verify.checks.r2pvi._functionals import DIVERGENCES, _g, _swap
from verify.checks.r2pvi._models import Model, collect, divergence_rows, evaluate, largest, random_model, solve, worst_rows
from verify.types import Claim, Estimate, Instance, Slack, Verdict

FloatArray = NDArray[np.float64]


def _model_instances(budget: str, seed: int) -> Iterator[Instance]:
    for divergence in DIVERGENCES:
        for price, size in (("penalty", 0.4), ("radius", 0.2)):
            for i in range(1 if budget == "quick" else 10):
                yield Instance(f"{divergence}, {price} {size}, model {i}", {"divergence": divergence, "price": price, "size": size, "draw": i})


def _model(params: Any) -> Model:
    return random_model(params["draw"], horizon=params.get("horizon", 4))


def _charge(params: Any, kernel: FloatArray, model: Model) -> FloatArray | float:
    return params["size"] * divergence_rows(kernel, model.factors, params["divergence"]) if params["price"] == "penalty" else 0.0


def _random_kernel(params: Any, model: Model, rng: np.random.Generator) -> FloatArray:
    """Return factors of nature's choice: any for a penalty, pulled back into the set for a radius."""
    free = rng.dirichlet(np.full(model.factors.shape[-1], 0.5), size=model.factors.shape[:2]) * (model.factors > 0)
    kernel = free / free.sum(axis=-1, keepdims=True)
    if params["price"] == "radius":
        # the divergences are convex, so that a mixture spends at most its share
        spent = divergence_rows(kernel, model.factors, params["divergence"])
        share = np.minimum(1.0, params["size"] / np.maximum(spent, 1e-300))[..., None]
        kernel = share * kernel + (1.0 - share) * model.factors
    return np.asarray(kernel)


def bellman_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Values of the recursion, against the least forward evaluation over the worst kernel and 20 random ones, and the greatest over policies.

    The second half compares with the greatest robust value among the recursion's policy and 20 random policies.
    """
    params = instance.params
    model = _model(params)
    price = {params["price"]: params["size"]}
    found = solve(model, params["divergence"], **price)
    rng = np.random.Generator(np.random.Philox(key=[params["draw"], 2]))
    forward = evaluate(model, found.policy, found.kernel, _charge(params, found.kernel, model))[0]
    best = solve(model, params["divergence"], policy=found.policy, **price).value[0]
    for _ in range(20):
        kernel = _random_kernel(params, model, rng)
        forward = np.minimum(forward, evaluate(model, found.policy, kernel, _charge(params, kernel, model))[0])
        policy = rng.integers(0, model.features.shape[1], found.policy.shape)
        best = np.maximum(best, solve(model, params["divergence"], policy=policy, **price).value[0])
    return Estimate.numeric(np.concatenate([found.value[0], found.value[0]])), Estimate.numeric(np.concatenate([forward, best]))


def _nominal_kernel(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Forward evaluation under the nominal kernel in the place of the worst one."""
    params = instance.params
    model = _model(params)
    found = solve(model, params["divergence"], **{params["price"]: params["size"]})
    return Estimate.numeric(found.value[0]), Estimate.numeric(evaluate(model, found.policy, model.factors)[0])


def _penalty_instances(budget: str, seed: int) -> Iterator[Instance]:
    for divergence in DIVERGENCES:
        for penalty in (0.2, 1.0):
            for i in range(1 if budget == "quick" else 12):
                yield Instance(f"{divergence}, penalty {penalty}, model {i}", {"divergence": divergence, "size": penalty, "draw": 10 + i, "shift": True})


def equivalence_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Values of the regularised model, against those of the constrained model with the spent radii and shifted rewards."""
    params = instance.params
    model = _model(params)
    priced = solve(model, params["divergence"], penalty=params["size"])
    shift = params["size"] * priced.spent if params["shift"] else 0.0
    bounded = solve(model.shifted(model.weights + shift), params["divergence"], radius=priced.spent)
    return Estimate.numeric(priced.value), Estimate.numeric(bounded.value)


def _unshifted(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The constrained model without the shift of the rewards."""
    return equivalence_sides(Instance(instance.name, {**instance.params, "shift": False}), seed)


def rectangular_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Robust value with a set for each state and action on the left, for each factor on the right."""
    params = instance.params
    model = _model(params)
    H, _, S = model.factors.shape
    A = model.features.shape[1]
    price = {params["price"]: params["size"]}
    value = np.zeros(S)
    for h in reversed(range(H)):
        nominal = (model.features @ model.factors[h]).reshape(S * A, S)
        worst = worst_rows(value, nominal / nominal.sum(axis=1, keepdims=True), divergence=params["divergence"], **price)[0]
        value = (model.features @ model.weights[h] + worst.reshape(S, A)).max(axis=1)
    return Estimate.numeric(value), Estimate.numeric(solve(model, params["divergence"], **price).value[0])


def _chain(params: Any) -> Model:
    """Return two states, one reward each step in the first and none in the second, each staying put: the range bounds are attained."""
    H = params["horizon"]
    return Model(np.eye(2)[:, None, :], np.tile(np.eye(2), (H, 1, 1)), np.tile([1.0, 0.0], (H, 1)))


def _range_instances(budget: str, seed: int) -> Iterator[Instance]:
    for price, size in (("penalty", 0.2), ("penalty", 2.5), ("radius", 0.05), ("radius", 0.5)):
        yield Instance(f"attained, {price} {size}", {"divergence": "tv", "price": price, "size": size, "horizon": 8, "chain": True, "draw": 0})
        for i in range(1 if budget == "quick" else 20):
            yield Instance(f"{price} {size}, model {i}", {"divergence": "tv", "price": price, "size": size, "horizon": 8, "chain": False, "draw": 30 + i})


def range_sides(instance: Instance, seed: int, factor: float = 1.0) -> tuple[Estimate, Estimate]:
    """Range of the robust value at every step, against the bound."""
    params = instance.params
    model = _chain(params) if params["chain"] else _model(params)
    price = {params["price"]: params["size"]}
    value = solve(model, "tv", **price).value[:-1]
    bound = formulas.range_bound(np.arange(model.horizon, 0, -1), **price)
    return Estimate.numeric(value.max(axis=1) - value.min(axis=1)), Estimate.numeric(factor * bound)


def _range_short(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Nine tenths of the bound."""
    return range_sides(instance, seed, factor=0.9)


def _decomposition_instances(budget: str, seed: int) -> Iterator[Instance]:
    for divergence in DIVERGENCES:
        for errors in ("random", "low", "high"):
            for i in range(1 if budget == "quick" else 10):
                yield Instance(f"{divergence}, {errors} errors, model {i}",
                               {"divergence": divergence, "size": 0.5, "errors": errors, "draw": 50 + i, "horizon": 3, "pessimism": 1.0})


def decomposition_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The chain V-hat <= V of its policy <= V* and loss <= middle bound <= greatest bound: small sides left, large sides right."""
    params = instance.params
    model = _model(params)
    H, d, S = model.factors.shape
    rng = np.random.Generator(np.random.Philox(key=[params["draw"], 3]))
    width = rng.uniform(0.02, 0.2, (H, d))
    shares: dict[str, FloatArray] = {"random": rng.uniform(-1.0, 1.0, (H, d)), "low": -np.ones((H, d)), "high": np.ones((H, d))}
    error = width * shares[params["errors"]]
    costs = np.einsum("sad,hd->hsa", model.features, width)
    value, policy, kernel = np.zeros((H + 1, S)), np.zeros((H, S), dtype=np.int64), np.empty_like(model.factors)
    for h in reversed(range(H)):
        worst, kernel[h] = worst_rows(value[h + 1], model.factors[h], divergence=params["divergence"], penalty=params["size"])
        Q = np.clip(model.features @ (model.weights[h] + worst + error[h]) - params["pessimism"] * costs[h], 0.0, H - h)
        policy[h], value[h] = Q.argmax(axis=1), Q.max(axis=1)
    best = solve(model, params["divergence"], penalty=params["size"])
    own = solve(model, params["divergence"], penalty=params["size"], policy=policy).value[0]
    middle = 2.0 * collect(model, best.policy, kernel, costs)[0]
    radius = best.value[1:].max(axis=1) / params["size"]
    most = 2.0 * largest(model, best.policy, params["divergence"], radius, costs)[0]
    loss = best.value[0] - own
    return Estimate.numeric(np.concatenate([value[0], own, loss, middle])), Estimate.numeric(np.concatenate([own, best.value[0], middle, most]))


def _little_pessimism(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """A fifth of the pessimism that the errors need."""
    return decomposition_sides(Instance(instance.name, {**instance.params, "pessimism": 0.2}), seed)


def factor_instances(budget: str, seed: int) -> Iterator[Instance]:
    """Two arms whose difference is a share of the pessimism."""
    for share in (1.9, 1.5, 1.1):
        yield Instance(f"difference of {share} Gamma", {"share": share, "gamma": 0.1})


def factor_strategy() -> Any:
    """Return the space of instances that a hunt searches."""
    from hypothesis import strategies as st

    return st.builds(lambda share, gamma: Instance(f"share {share:.3g}", {"share": share, "gamma": gamma}), st.floats(0.1, 1.95), st.floats(0.01, 0.2))


def _two_arms(params: Any) -> tuple[float, float]:
    """Return the loss and the expected pessimism of the best arm, from a run whose errors are at the ends of what is allowed."""
    gamma, better = params["gamma"], 0.4 + params["share"] * params["gamma"]
    model = Model(np.array([[[1.0, 0.0], [0.0, 1.0]]]), np.ones((1, 2, 1)), np.array([[better, 0.4]]))
    error = gamma * np.array([-1.0, 1.0])
    estimate = model.features[0] @ (model.weights[0] + error) - gamma
    best = solve(model, "tv", penalty=1.0)
    own = solve(model, "tv", penalty=1.0, policy=np.array([[int(estimate.argmax())]]))
    return float(best.value[0, 0] - own.value[0, 0]), gamma


def factor_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Loss of the pessimistic policy, against the expected pessimism without the factor 2."""
    loss, gamma = _two_arms(instance.params)
    return Estimate.numeric(loss), Estimate.numeric(gamma)


def factor_corrected(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Loss of the pessimistic policy, against twice the expected pessimism."""
    loss, gamma = _two_arms(instance.params)
    return Estimate.numeric(loss), Estimate.numeric(2.0 * gamma)


_EXACT = Claim("==", Slack(1e-7))
_BELOW = Claim("<=", Slack(1e-9))

CHECKS: tuple[Check, ...] = (
    Check(_g("G5"), _EXACT, _model_instances, bellman_sides, (Control("nominal kernel in the place of the worst one", _nominal_kernel),),
          figures.bellman, cost={"quick": 3.0, "full": 15.0}),
    Check(_g("G6"), _EXACT, _penalty_instances, equivalence_sides, (Control("rewards not shifted", _unshifted),), figures.equivalence,
          cost={"quick": 1.0, "full": 5.0}),
    Check(_g("G7a"), _BELOW, _model_instances, rectangular_sides, (Control("the two sets exchanged", _swap(rectangular_sides)),), figures.rectangular,
          cost={"quick": 1.0, "full": 5.0}),
    Check(_g("G7b"), _BELOW, _range_instances, range_sides, (Control("nine tenths of the bound", _range_short),), figures.ranges,
          cost={"quick": 1.0, "full": 5.0}),
    Check(_g("G8"), _BELOW, _decomposition_instances, decomposition_sides, (Control("a fifth of the pessimism", _little_pessimism),),
          figures.decomposition, cost={"quick": 1.0, "full": 8.0}),
    Check(_g("G11-factor"), _BELOW, factor_instances, factor_sides, (Control("with the factor 2", factor_corrected, Verdict.HOLDS),), figures.factor,
          expected=Verdict.VIOLATED, cost={"quick": 0.5, "full": 0.5}, strategy=factor_strategy),
)
