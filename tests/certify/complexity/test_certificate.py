"""Finite classes, confidence radii and regret certificates: known numbers, refusals, soundness on runs."""

from __future__ import annotations

import json

import numpy as np
import pytest

import mdps
from certify.complexity import (
    confidence_radius,
    linear_mixture_regret_certificate,
    linear_regret_certificate,
    model_class,
    regret_certificate,
    value_class,
)
from mdps.families import hard_mixture, two_loops
from verify.checks.loop_agec._classes import near_class
from verify.simulators import hard_class, simulate


def test_hard_class_has_the_printed_figures() -> None:
    found = hard_class(3, 10.0, 0.06)
    assert (found.hypotheses, found.functions, found.truth) == (8, 16, 7)
    assert found.optimal_gain == pytest.approx(0.6153846154, abs=1e-10)
    assert found.optimal_span == pytest.approx(3.8461538462, abs=1e-9)
    assert found.largest_error == pytest.approx(0.4615384615, abs=1e-8)
    assert found.dimension(1e-5).lower == 4
    assert found.realisable
    assert found.complete


def test_certificate_of_the_hard_class() -> None:
    found = regret_certificate(hard_class(3, 10.0, 0.06), steps=300_000, delta=0.05)
    assert found.bound == pytest.approx(125_208.35, abs=0.1)
    assert found.alpha == pytest.approx(0.2)
    assert not found.vacuous
    assert regret_certificate(hard_class(3, 10.0, 0.06), steps=30_000, delta=0.05).vacuous
    stored = json.loads(found.to_json())
    assert stored["bound"] == found.upper == found.value
    assert found.lower == -np.inf


@pytest.mark.parametrize("algorithm", ["loop", "mle-loop"])
def test_certificates_bound_the_runs(algorithm: str) -> None:
    hypotheses = hard_class(3, 10.0, 0.06)
    run = simulate(hypotheses, algorithm=algorithm, steps=20_000, seeds=20, delta=0.001)
    found = regret_certificate(hypotheses, steps=20_000, delta=0.001, algorithm=algorithm)
    assert run.regret[:, -1].max() <= found.bound
    assert run.switches[:, -1].max() <= found.switches


def test_linear_certificates_become_useful_and_grow_with_dimension() -> None:
    for certify in (linear_regret_certificate, linear_mixture_regret_certificate):
        small, large = certify(1, span=2.0, steps=10**9, delta=0.01), certify(4, span=2.0, steps=10**9, delta=0.01)
        assert not small.vacuous
        assert small.bound < large.bound
        assert small.radius < large.radius
        assert small.alpha == pytest.approx(0.04)
        # Doubling T multiplies a bound of order sqrt(T log T) by a little more than sqrt 2.
        assert 1.41 < certify(1, span=2.0, steps=2 * 10**9, delta=0.01).bound / small.bound < 1.5


def test_confidence_radii() -> None:
    assert confidence_radius(span=2.0, functions=10, delta=0.1) == pytest.approx(2 * np.log(100))
    assert confidence_radius(functions=8, delta=0.05, form="likelihood") == pytest.approx(np.log(160))
    assert confidence_radius(span=2.0, functions=16, delta=0.05, hypotheses=8, steps=1000, form="loop") == pytest.approx(4 * np.log(1000 * 128 / 0.05))


def test_class_without_the_truth_is_refused() -> None:
    models = [hard_mixture(3, 10.0, 0.06, signs=s) for s in ((1, 1, -1), (1, -1, 1))]
    found = model_class(hard_mixture(3, 10.0, 0.06), models)
    assert found.truth is None
    with pytest.raises(ValueError, match="must contain the true model"):
        regret_certificate(found, steps=100, delta=0.1)
    for algorithm in ("loop", "mle-loop"):
        with pytest.raises(ValueError, match="must contain the true model"):
            simulate(found, algorithm=algorithm, steps=100, seeds=1)


def test_class_that_is_exact_only_roughly_is_refused_for_many_steps() -> None:
    """Each step may move the losses by the error of the equations; the radius absorbs a fixed amount."""
    base = hard_class(2, 10.0, 0.06)
    rough = value_class(base.mdp, base.action_value + 4e-9 * (np.arange(4) == 3), base.gain)
    assert 3e-9 < rough.inexactness < 6e-9
    assert base.inexactness < 1e-9
    assert regret_certificate(rough, steps=10**6, delta=0.1).bound > 0
    with pytest.raises(ValueError, match="equations hold to 4e-09 only, got 10000000000; refusing to certify"):
        regret_certificate(rough, steps=10**10, delta=0.1)


def test_class_without_span_is_refused() -> None:
    one = mdps.TabularMDP(np.ones((1, 2, 1)), np.array([[0.0, 1.0]]))
    found = value_class(one, [[[-1.0, 0.0]]], [1.0])
    with pytest.raises(ValueError, match="must have a positive span"):
        regret_certificate(found, steps=100, delta=0.1)


def test_incomplete_class_is_refused() -> None:
    base = near_class(0)
    assert base.complete
    found = value_class(base.mdp, base.action_value, base.gain, auxiliary=np.zeros((1, 3, 2)))
    assert found.realisable
    assert not found.complete
    with pytest.raises(ValueError, match="closed under completeness.*refusing to certify"):
        regret_certificate(found, steps=100, delta=0.1)
    with pytest.raises(ValueError, match="closed under completeness"):
        simulate(found, algorithm="loop", steps=100, seeds=1)


def test_likelihood_certificate_needs_models_with_the_known_rewards() -> None:
    """A model with the true kernel and larger rewards is never eliminated by its likelihood and loses a constant at every step."""
    p, r = hard_mixture(1, 10.0, 0.1).dense(), hard_mixture(1, 10.0, 0.1).expected_reward
    truth = mdps.TabularMDP(p, r)
    worse = int(p[0, :, 1].argmin())
    tempting = mdps.TabularMDP(p, r + 0.9 * np.outer([1.0, 0.0], np.arange(2) == worse))
    found = model_class(truth, [truth, tempting])
    assert found.model_truth == 0
    assert found.other_rewards == 1
    with pytest.raises(ValueError, match="must share the known rewards"):
        regret_certificate(found, steps=1000, delta=0.05, algorithm="mle-loop")
    assert regret_certificate(found, steps=1000, delta=0.05).alpha == pytest.approx(0.2)
    assert hard_class(2, 10.0, 0.06).other_rewards is None


def test_multichain_and_signed_models_are_refused() -> None:
    split = two_loops(linked=False)
    with pytest.raises(ValueError, match="multichain"):
        model_class(split, [split])
    big = mdps.TabularMDP(np.ones((1, 1, 1)), np.array([[1.5]]))
    with pytest.raises(ValueError, match=r"rewards must be in \[-1, 1\], got 1.5"):
        model_class(big, [big])
    masked = mdps.TabularMDP(np.ones((1, 2, 1)), np.zeros((1, 2)), action_mask=np.array([[True, False]]))
    with pytest.raises(ValueError, match="allow every action"):
        model_class(masked, [masked])


def test_the_span_of_the_truth_does_not_bound_every_error() -> None:
    """One state, rewards (0, 1): the span is 0 and a hypothesis errs by 1."""
    one = mdps.TabularMDP(np.ones((1, 2, 1)), np.array([[0.0, 1.0]]))
    found = value_class(one, [[[0.0, -1.0]], [[-1.0, 0.0]]], [1.0, 1.0])
    assert found.optimal_span == 0.0
    assert found.largest_error == pytest.approx(1.0)


BAD = [
    pytest.param(lambda c: model_class(c.mdp, []), "models must have at least one", id="no-models"),
    pytest.param(lambda c: model_class(c.mdp, [two_loops()]), r"models\[0\] must have 2 states", id="other-size"),
    pytest.param(lambda c: value_class(c.mdp, np.zeros((0, 2, 4)), []), "action_values must have shape", id="no-hypothesis"),
    pytest.param(lambda c: value_class(c.mdp, c.action_value, [np.nan] * 4), "gains must be finite", id="nan-gain"),
    pytest.param(lambda c: value_class(c.mdp, c.action_value, c.gain, auxiliary=np.zeros((1, 1, 1))), "auxiliary must have shape", id="auxiliary"),
    pytest.param(lambda c: regret_certificate(c, steps=1, delta=0.1), "steps must be an integer >= 2", id="steps"),
    pytest.param(lambda c: regret_certificate(c, steps=10, delta=1.0), r"delta must be in \(0, 1\)", id="delta"),
    pytest.param(lambda c: regret_certificate(c, steps=10, delta=0.1, algorithm="x"), "algorithm must be one of", id="algorithm"),
    pytest.param(lambda c: regret_certificate(value_class(c.mdp, c.action_value, c.gain), steps=9, delta=0.1, algorithm="mle-loop"),
                 "must come from models", id="no-kernels"),
    pytest.param(lambda c: value_class(c.mdp, c.action_value, c.gain, kernels=c.kernels[:1]), "kernels must have shape", id="kernel-shape"),
    pytest.param(lambda c: value_class(c.mdp, c.action_value, c.gain, kernels=2 * c.kernels), "kernels must sum to 1", id="kernel-rows"),
    pytest.param(lambda c: value_class("x", c.action_value, c.gain), "mdp must be a TabularMDP, got str", id="not-a-model"),
    pytest.param(lambda c: confidence_radius(functions=2, delta=0.1), "span must be a positive", id="no-span"),
    pytest.param(lambda c: confidence_radius(span=-1.0, functions=2, delta=0.1), "span must be a positive", id="span"),
    pytest.param(lambda c: confidence_radius(span=1.0, functions=0, delta=0.1), "functions must be an integer >= 1", id="functions"),
    pytest.param(lambda c: confidence_radius(span=1.0, functions=2, delta=0.1, form="loop"), "hypotheses and steps must be given", id="loop-form"),
    pytest.param(lambda c: linear_regret_certificate(0, span=1.0, steps=10, delta=0.1), "dimension must be an integer >= 1", id="dimension"),
    pytest.param(lambda c: linear_mixture_regret_certificate(1, span=1.0, steps=10, delta=0.1, radius=0.0), "radius must be a positive", id="radius"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call(hard_class(2, 10.0, 0.06))
