"""The softmax step and its Lipschitz bounds (G1, G4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from theory import dr_rpo as formulas
from verify.check import Check, Control
from verify.checks.dr_rpo import _figures as figures
from verify.types import Claim, Estimate, Instance, Slack

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

FloatArray = NDArray[np.float64]
Pairs = tuple[FloatArray, FloatArray, FloatArray, float]

_BY_KEY = {guarantee.key: guarantee for guarantee in formulas.GUARANTEES}


def _instances(budget: str, seed: int) -> Iterator[Instance]:
    draws = 300 if budget == "quick" else 5000
    for eta in (0.05, 0.5, 3.0):
        for actions in (2, 5):
            yield Instance(
                f"{draws} pairs, {actions} actions, eta {eta}", {"seed": seed % 10**6, "draws": draws, "actions": actions, "temperature": eta}
            )
    for gap in (0.01, 0.5, 4.0):
        # two actions tilted symmetrically around the balanced pair attain the bounds
        yield Instance(
            f"balanced pair, gap {gap}", {"first": [gap / 2, -gap / 2], "second": [-gap / 2, gap / 2], "reference": [0.5, 0.5], "temperature": 0.5}
        )
    yield Instance("shifted by a constant", {"first": [1.0, 2.0, 0.0], "second": [1.5, 2.5, 0.5], "reference": [0.5, 0.3, 0.2], "temperature": 0.5})


def _strategy() -> SearchStrategy[Instance]:
    from hypothesis import strategies as st

    values = st.lists(st.floats(-3, 3), min_size=3, max_size=3)
    weights = st.lists(st.integers(1, 9), min_size=3, max_size=3)

    def build(first: list[float], second: list[float], weight: list[int], eta: float) -> Instance:
        reference = [w / sum(weight) for w in weight]
        return Instance("searched", {"first": first, "second": second, "reference": reference, "temperature": eta})

    return st.builds(build, values, values, weights, st.floats(0.05, 5))


def _pairs(params: Any) -> Pairs:
    """Return Q, Q', ref and eta."""
    if "first" in params:
        first, second, reference = (np.asarray(params[name], dtype=np.float64)[None] for name in ("first", "second", "reference"))
        return first, second, reference, params["temperature"]
    rng = np.random.Generator(np.random.Philox(key=[params["seed"], 1]))
    shape = (params["draws"], params["actions"])
    scale = params["temperature"] * 10.0 ** rng.uniform(-2, 1, (params["draws"], 1))
    first = rng.normal(size=shape)
    return first, first + scale * rng.normal(size=shape), rng.dirichlet(np.ones(params["actions"]), params["draws"]), params["temperature"]


def _span(x: FloatArray) -> FloatArray:
    return np.asarray(np.ptp(x, axis=1))


def gap_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """S(Q) less the penalised value of the softmax of Q', against eta KL between the two softmax policies."""
    q, other, ref, eta = _pairs(instance.params)
    pi = formulas.softmax_policy(other, ref, eta)
    earned = (pi * q).sum(axis=1) - eta * formulas.policy_divergence(pi, ref)
    best = formulas.softmax_policy(q, ref, eta)
    return Estimate.numeric(formulas.soft_value(q, ref, eta) - earned), Estimate.numeric(eta * formulas.policy_divergence(pi, best))


def _without_penalty(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The KL term dropped from the value of the policy."""
    q, other, ref, eta = _pairs(instance.params)
    pi = formulas.softmax_policy(other, ref, eta)
    right = eta * formulas.policy_divergence(pi, formulas.softmax_policy(q, ref, eta))
    return Estimate.numeric(formulas.soft_value(q, ref, eta) - (pi * q).sum(axis=1)), Estimate.numeric(right)


def _wrong_reference(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The softmax taken with a uniform reference policy."""
    q, other, ref, eta = _pairs(instance.params)
    uniform = np.full_like(q, 1.0 / q.shape[1])
    pi = formulas.softmax_policy(other, ref, eta)
    earned = (pi * q).sum(axis=1) - eta * formulas.policy_divergence(pi, ref)
    right = eta * formulas.policy_divergence(pi, formulas.softmax_policy(q, uniform, eta))
    return Estimate.numeric(formulas.soft_value(q, ref, eta) - earned), Estimate.numeric(right)


def _random_only(budget: str, seed: int) -> Iterator[Instance]:
    return (instance for instance in _instances(budget, seed) if "draws" in instance.params)


def value_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Distance of two soft maxima, against the sup distance of the action values."""
    q, other, ref, eta = _pairs(instance.params)
    left = np.abs(formulas.soft_value(q, ref, eta) - formulas.soft_value(other, ref, eta))
    return Estimate.numeric(left), Estimate.numeric(np.abs(q - other).max(axis=1))


def tv_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Total variation of two softmax policies, against tanh of the span of the difference over four temperatures."""
    q, other, ref, eta = _pairs(instance.params)
    left = 0.5 * np.abs(formulas.softmax_policy(q, ref, eta) - formulas.softmax_policy(other, ref, eta)).sum(axis=1)
    return Estimate.numeric(left), Estimate.numeric(formulas.softmax_tv_bound(_span(q - other), eta))


def l1_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """L1 distance of two softmax policies, against the sup distance of the action values over the temperature."""
    q, other, ref, eta = _pairs(instance.params)
    left = np.abs(formulas.softmax_policy(q, ref, eta) - formulas.softmax_policy(other, ref, eta)).sum(axis=1)
    return Estimate.numeric(left), Estimate.numeric(formulas.softmax_l1_bound(np.abs(q - other).max(axis=1), eta))


def kl_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """eta KL of two softmax policies, against the squared span of the difference over eight temperatures."""
    q, other, ref, eta = _pairs(instance.params)
    pi, base = formulas.softmax_policy(q, ref, eta), formulas.softmax_policy(other, ref, eta)
    left = eta * formulas.policy_divergence(pi, base)
    return Estimate.numeric(left), Estimate.numeric(formulas.softmax_kl_bound(_span(q - other), eta))


def _halved(sides: Callable[[Instance, int], tuple[Estimate, Estimate]]) -> Callable[[Instance, int], tuple[Estimate, Estimate]]:
    def halved(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
        left, right = sides(instance, seed)
        return left, Estimate.numeric(0.5 * np.asarray(right.value))

    return halved


def _narrow_tanh(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Eight temperatures where four are right."""
    left, _ = tv_sides(instance, seed)
    q, other, _, eta = _pairs(instance.params)
    return left, Estimate.numeric(formulas.softmax_tv_bound(_span(q - other), 2.0 * eta))


def _lipschitz(number: str, sides: Any, controls: tuple[Control, ...]) -> Check:
    return Check(
        _BY_KEY[f"dr_rpo/{number}"],
        Claim("<=", Slack(1e-12, 1e-9)),
        _instances,
        sides,
        controls,
        figures.lipschitz,
        cost={"quick": 0.2, "full": 1.0},
        strategy=_strategy,
    )


CHECKS: tuple[Check, ...] = (
    Check(
        _BY_KEY["dr_rpo/G1"],
        Claim("==", Slack(1e-11, 1e-10)),
        _instances,
        gap_sides,
        (
            Control("value without the KL term", _without_penalty, instances=_random_only),
            Control("softmax with a uniform reference", _wrong_reference, instances=_random_only),
        ),
        figures.softmax_gap,
        cost={"quick": 0.2, "full": 1.0},
        strategy=_strategy,
    ),
    _lipschitz("G4a", value_sides, (Control("half of the sup distance", _halved(value_sides)),)),
    _lipschitz("G4b", tv_sides, (Control("eight temperatures in the place of four", _narrow_tanh),)),
    _lipschitz("G4c", l1_sides, (Control("half of the bound", _halved(l1_sides)),)),
    _lipschitz("G4d", kl_sides, (Control("half of the bound", _halved(kl_sides)),)),
)
