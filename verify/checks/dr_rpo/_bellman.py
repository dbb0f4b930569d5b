"""The soft robust Bellman equation, its saddle point, the bias of the temperature, contraction, and the regret of optimism (G2, G3, G5, G6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from certify.robust.evaluation import Problem, evaluate_policy, evaluate_problem
from certify.robust.exact import certify_pair, equivalent_constrained, exact_value
from theory import dr_rpo as formulas
from verify.check import Check, Control
from verify.checks.dr_rpo import _figures as figures
from verify.checks.dr_rpo._models import FORMS, arguments, expectation, model_instances, problem_of, random_model
from verify.types import Claim, Estimate, Instance, Slack

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

FloatArray = NDArray[np.float64]
Sides = tuple[Estimate, Estimate]

_BY_KEY = {guarantee.key: guarantee for guarantee in formulas.GUARANTEES}


def _model_strategy() -> SearchStrategy[Instance]:
    from hypothesis import strategies as st

    def build(form: tuple[str, str, float], draw: int, eta: float) -> Instance:
        divergence, price, size = form
        return Instance("searched", {"draw": draw, "divergence": divergence, "price": price, "size": size, "temperature": eta})

    return st.builds(build, st.sampled_from(FORMS), st.integers(0, 10**6), st.floats(0.02, 2))


def saddle_sides(instance: Instance, seed: int) -> Sides:
    """Robust value of the softmax policy and best soft value in the fixed worst kernel, against the value of the recursion."""
    model = random_model(instance.params["draw"])
    found = exact_value(model, **arguments(instance.params, model))
    pair = found.certificate
    return Estimate.numeric(np.stack([pair.policy_value, pair.kernel_value])), Estimate.numeric(np.stack([found.value, found.value]))


def _nominal_kernel(instance: Instance, seed: int) -> Sides:
    """The nominal factors in the place of the worst ones."""
    model = random_model(instance.params["draw"])
    kwargs = arguments(instance.params, model)
    found = exact_value(model, **kwargs)
    return Estimate.numeric(certify_pair(model, found.policy, model.factors, **kwargs).kernel_value), Estimate.numeric(found.value)


def _other_reference(instance: Instance, seed: int) -> Sides:
    """The optimum for a uniform reference, valued with the reference (.98, .01, .01) and temperature 0.5."""
    model = random_model(instance.params["draw"])
    kwargs = {**arguments(instance.params, model), "temperature": 0.5}
    uniform = exact_value(model, **{**kwargs, "reference": None})
    kwargs["reference"] = np.array([0.98, 0.01, 0.01])
    return Estimate.numeric(evaluate_policy(model, uniform.policy, **kwargs).value), Estimate.numeric(exact_value(model, **kwargs).value)


def _no_penalty(instance: Instance, seed: int) -> Sides:
    """The KL term dropped from the evaluation of the policy."""
    model = random_model(instance.params["draw"])
    kwargs = arguments(instance.params, model)
    found = exact_value(model, **kwargs)
    return Estimate.numeric(evaluate_policy(model, found.policy, **{**kwargs, "temperature": 0.0}).value), Estimate.numeric(found.value)


def _bias_instances(budget: str, seed: int) -> Iterator[Instance]:
    for instance in model_instances(budget, seed):
        for eta in (0.001, 0.05, 1.0):
            yield Instance(f"{instance.name}, eta {eta}", {**instance.params, "temperature": eta})


def _bias(params: Any, shrink: float) -> Sides:
    model = random_model(params["draw"])
    kwargs = arguments(params, model)
    reference = kwargs["reference"]
    soft, hotter, greedy = (exact_value(model, **{**kwargs, "temperature": eta}) for eta in (params["temperature"], 2 * params["temperature"], 0.0))
    lost = greedy.value - evaluate_policy(model, soft.policy, **{**kwargs, "temperature": 0.0}).value
    base = evaluate_policy(model, reference, **kwargs).value
    steps = np.arange(model.horizon, -1, -1.0)[:, None]
    bound = np.broadcast_to(
        shrink * formulas.temperature_bias(params["temperature"], steps=steps, least_probability=float(reference.min())), lost.shape
    )
    none = np.zeros_like(lost)
    left = np.stack([greedy.value - soft.value, lost, soft.value - greedy.value, hotter.value - soft.value, base - soft.value])
    return Estimate.numeric(left), Estimate.numeric(np.stack([bound, bound, none, none, none]))


def bias_sides(instance: Instance, seed: int) -> Sides:
    """Loss by the temperature and loss of the softmax policy against eta n log(1/p); the order in eta and against the reference."""
    return _bias(instance.params, 1.0)


def _uniform_bias(instance: Instance, seed: int) -> Sides:
    """A fifth of the bound."""
    return _bias(instance.params, 0.2)


def _hotter_is_better(instance: Instance, seed: int) -> Sides:
    """The order in the temperature turned round."""
    left, right = bias_sides(instance, seed)
    value = np.array(left.value)
    value[3] *= -1.0
    return Estimate.numeric(value), right


def _charged(budget: str, seed: int) -> Iterator[Instance]:
    return (instance for instance in model_instances(budget, seed) if instance.params["price"] == "penalty")


def equivalence_sides(instance: Instance, seed: int) -> Sides:
    """Values of the constrained model with the radii of the optimum and shifted rewards, against the regularised values."""
    return _equivalence(instance.params, True)


def _unshifted(instance: Instance, seed: int) -> Sides:
    """The rewards left as they were."""
    return _equivalence(instance.params, False)


def _equivalence(params: Any, shift: bool) -> Sides:
    model = random_model(params["draw"])
    kwargs = arguments(params, model)
    same = equivalent_constrained(
        model, divergence=params["divergence"], penalty=params["size"], temperature=params["temperature"], reference=kwargs["reference"]
    )
    constrained = {**kwargs, "radius": same.radius}
    del constrained["penalty"]
    found = exact_value(same.mdp if shift else model, **constrained)
    return Estimate.numeric(found.value), Estimate.numeric(exact_value(model, **kwargs).value)


def _pair_instances(budget: str, seed: int) -> Iterator[Instance]:
    for instance in model_instances(budget, seed):
        for gamma in (0.5, 0.9):
            yield Instance(f"{instance.name}, gamma {gamma}", {**instance.params, "discount": gamma})


def _contraction(params: Any, factor: float) -> Sides:
    problem, gamma = problem_of(params), params["discount"]
    rng = np.random.Generator(np.random.Philox(key=[params["draw"], 3]))

    def operator(values: FloatArray) -> FloatArray:
        q = problem.features[0] @ (problem.reward_weights[0] + gamma * np.array([problem.worst(0, i, values)[0] for i in range(problem.shape[3])]))
        return np.asarray(formulas.soft_value(q, problem.reference[0], problem.temperature))

    lefts, rights = [], []
    for shift in (False, True, False, False):
        v = rng.uniform(0, 3, problem.shape[1])
        other = v + (0.7 if shift else rng.uniform(-1, 1, v.size))
        lefts.append(np.abs(operator(v) - operator(other)).max())
        rights.append(factor * gamma * np.abs(v - other).max())
        above = np.maximum(v, other)
        lefts.append(float((operator(v) - operator(above)).max()))
        rights.append(0.0)
    return Estimate.numeric(lefts), Estimate.numeric(rights)


def contraction_sides(instance: Instance, seed: int) -> Sides:
    """Distance of two images of the discounted operator, against gamma times the distance; and monotonicity."""
    return _contraction(instance.params, 1.0)


def _too_strong(instance: Instance, seed: int) -> Sides:
    """Nine tenths of gamma."""
    return _contraction(instance.params, 0.9)


def _learner(params: Any, noise: str, share: float) -> tuple[Problem, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return the model, V*, Q*, Qhat, Vhat and Gamma of a learner whose backups are off by at most Gamma and lifted by `share` Gamma."""
    problem = problem_of(params)
    rng = np.random.Generator(np.random.Philox(key=[params["draw"], 5]))
    H, S, A, _ = problem.shape
    bonus = rng.uniform(0, 0.3, (H, S, A))
    best, estimate = np.zeros((H + 1, S)), np.zeros((H + 1, S))
    q_best, q_hat = np.empty((H, S, A)), np.empty((H, S, A))
    for h in reversed(range(H)):
        q_best[h], _ = problem.backup(h, best[h + 1])
        q_hat[h], _ = problem.backup(h, estimate[h + 1])
        error = -np.ones((S, A)) if noise == "low" else rng.uniform(-1, 1, (S, A))
        q_hat[h] += bonus[h] * (error + share)
        best[h], estimate[h] = (formulas.soft_value(q[h], problem.reference[h], problem.temperature) for q in (q_best, q_hat))
    return problem, best, q_best, q_hat, estimate, bonus


def _regret(params: Any, noise: str, share: float, factor: float) -> Sides:
    problem, best, _, q_hat, estimate, bonus = _learner(params, noise, share)
    pi = formulas.softmax_policy(q_hat, problem.reference, problem.temperature)
    played = evaluate_problem(problem, pi)
    budget = factor * expectation(problem, pi, played.worst_factors, bonus)
    true, hoped, none = best[0] - played.value[0], estimate[0] - played.value[0], np.zeros_like(best[0])
    return Estimate.numeric(np.stack([-true, true, hoped])), Estimate.numeric(np.stack([none, hoped, budget]))


def regret_sides(instance: Instance, seed: int) -> Sides:
    """0 <= V* - V^pihat <= Vhat - V^pihat <= 2 E sum Gamma in every state, with errors anywhere in [-Gamma, Gamma]."""
    return _regret(instance.params, "any", 1.0, 2.0)


def _pessimistic(instance: Instance, seed: int) -> Sides:
    """Errors of -Gamma with a fifth of the bonus."""
    return _regret(instance.params, "low", 0.2, 2.0)


def _one_gamma(instance: Instance, seed: int) -> Sides:
    """A bound of half of E sum Gamma."""
    return _regret(instance.params, "any", 1.0, 0.5)


def _second(params: Any, scale: float) -> Sides:
    problem, best, q_best, q_hat, _, _ = _learner(params, "any", 0.2)
    pi = formulas.softmax_policy(q_hat, problem.reference, problem.temperature)
    played = evaluate_problem(problem, pi)
    star = formulas.softmax_policy(q_best, problem.reference, problem.temperature)
    one = np.ones(pi.shape)
    kl = (problem.temperature * formulas.policy_divergence(pi, star))[:, :, None] * one
    span = formulas.softmax_kl_bound(np.ptp(q_hat - q_best, axis=2), problem.temperature)[:, :, None] * one
    loss, first, second = best[0] - played.value[0], *(expectation(problem, pi, played.worst_factors, x) for x in (kl, span))
    return Estimate.numeric(np.stack([loss, first])), Estimate.numeric(scale * np.stack([first, second]))


def second_sides(instance: Instance, seed: int) -> Sides:
    """The loss against E sum eta KL, and that against E sum span^2/(8 eta), without optimism."""
    return _second(instance.params, 1.0)


def _half_second(instance: Instance, seed: int) -> Sides:
    """Half of both bounds."""
    return _second(instance.params, 0.5)


def _check(number: str, claim: Claim, sides: Any, controls: tuple[Control, ...], figure: Any, cost: float, instances: Any = model_instances) -> Check:
    return Check(
        _BY_KEY[f"dr_rpo/{number}"], claim, instances, sides, controls, figure, cost={"quick": cost, "full": 30 * cost}, strategy=_model_strategy
    )


_EQUAL, _LESS = Claim("==", Slack(1e-9, 1e-9)), Claim("<=", Slack(1e-9))

CHECKS: tuple[Check, ...] = (
    _check(
        "G2",
        _EQUAL,
        saddle_sides,
        (
            Control("nominal kernel in the place of the worst one", _nominal_kernel),
            Control("optimum of another reference policy", _other_reference),
            Control("KL term dropped from the evaluation", _no_penalty),
        ),
        figures.saddle,
        0.6,
    ),
    _check(
        "G3",
        _LESS,
        bias_sides,
        (Control("a fifth of the bound", _uniform_bias), Control("order in the temperature turned round", _hotter_is_better)),
        figures.envelope,
        1.5,
        _bias_instances,
    ),
    Check(
        _BY_KEY["dr_rpo/G3-equivalence"],
        _EQUAL,
        _charged,
        equivalence_sides,
        (Control("rewards not shifted", _unshifted),),
        figures.equivalence,
        cost={"quick": 0.4, "full": 10.0},
    ),
    Check(
        _BY_KEY["dr_rpo/G5"],
        _LESS,
        _pair_instances,
        contraction_sides,
        (Control("nine tenths of gamma", _too_strong),),
        figures.contraction,
        cost={"quick": 0.5, "full": 10.0},
    ),
    _check(
        "G6",
        _LESS,
        regret_sides,
        (Control("errors of -Gamma with a fifth of the bonus", _pessimistic), Control("half of E sum Gamma", _one_gamma)),
        figures.regret,
        0.5,
    ),
    _check("G6-second", _LESS, second_sides, (Control("half of the bounds", _half_second),), figures.second_order, 0.5),
)
