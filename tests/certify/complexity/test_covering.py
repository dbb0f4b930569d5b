"""Certificates of finite and of infinite classes against the printed formulas in 40 digits."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

import mdps
from certify.complexity import RegretCertificate, linear_mixture_regret_certificate, linear_regret_certificate, model_class, regret_certificate, value_class
from mdps.families import hard_mixture
from theory import loop_agec
from verify.simulators import hard_class


def printed_bound(found: RegretCertificate, beta: mpmath.mpf) -> mpmath.mpf:
    """Return 2 sqrt(10 d beta T) + B sqrt(T log(1/delta)/2) + B (1 + 10 d (1 + log T) + (d C^2 + 1)/beta) + d C + 1."""
    d, b, c, t, delta = (mpmath.mpf(x) for x in (found.dimension, found.span, found.largest_error, found.steps, found.delta))
    switches = 1 + 10 * d * (1 + mpmath.log(t)) + (d * c**2 + 1) / beta
    return 2 * mpmath.sqrt(10 * d * beta * t) + b * mpmath.sqrt(t * mpmath.log(1 / delta) / 2) + b * switches + d * c + 1


def assert_tight(value: float, exact: mpmath.mpf) -> None:
    """The certified number is above the exact one, by no more than the rounding it is charged for."""
    assert exact <= mpmath.mpf(value) <= exact * (1 + mpmath.mpf("1.5e-12"))


def rough_class():
    """Return a class whose true member has a gain that is off by a few units of rounding, and rewards of both signs."""
    base = hard_class(2, 10.0, 0.06)
    truth = mdps.TabularMDP(base.mdp.dense(), base.mdp.expected_reward - 0.25)
    return value_class(truth, base.action_value, base.gain - 0.25 + 4e-9 * (np.arange(4) == 3), kernels=base.kernels)


@pytest.mark.parametrize("steps", [10, 1000, 10**6])
def test_finite_certificates_are_the_printed_bound_and_pay_for_rounding(steps: int) -> None:
    """Errors off by eta lose (2 sqrt(d) + 1) T eta, and a gain off by g loses T g."""
    hypotheses, delta = rough_class(), 0.03
    with mpmath.workdps(40):
        for algorithm in ("loop", "mle-loop"):
            found = regret_certificate(hypotheses, steps=steps, delta=delta, algorithm=algorithm)
            b, d, c, t = mpmath.mpf(found.span), found.dimension, mpmath.mpf(found.largest_error), mpmath.mpf(steps)
            off = abs(mpmath.mpf(float(hypotheses.gain[3])) - mpmath.mpf(hypotheses.optimal_gain))
            assert 3e-9 < off < 5e-9
            rounding = (2 * mpmath.sqrt(d) + 1) * t * mpmath.mpf(hypotheses.rounding) + t * off
            assert float(rounding) == pytest.approx(found.rounding, rel=1e-6)
            if algorithm == "loop":
                beta = b**2 * mpmath.log(t * 4 * 8 / mpmath.mpf(delta))
                bound = printed_bound(found, beta)
                assert found.switches == pytest.approx(float(1 + 10 * d * (1 + mpmath.log(t)) + (d * c**2 + 1) / beta), rel=1e-12)
            else:
                beta = mpmath.log(4 / mpmath.mpf(delta))
                bound = 2 * mpmath.sqrt(3 * d * b**2 * beta * t) + b * mpmath.sqrt(t * mpmath.log(1 / mpmath.mpf(delta)) / 2) + 4 * b + d * c + 1
                assert found.switches == 4.0
            assert found.radius == pytest.approx(float(beta), rel=1e-12)
            assert_tight(found.bound, bound + mpmath.mpf(found.rounding))


def test_finite_certificates_say_what_they_rest_on() -> None:
    hypotheses = rough_class()
    found = regret_certificate(hypotheses, steps=1000, delta=0.03)
    assert found.log_hypotheses == pytest.approx(math.log(4))
    assert found.log_functions == pytest.approx(math.log(8))
    assert found.alpha == pytest.approx(0.12)
    assert found.trivial == pytest.approx(1000 * (hypotheses.optimal_gain - hypotheses.mdp.expected_reward.min()))
    assert hypotheses.mdp.expected_reward.min() == -0.25
    assert (found.span, found.largest_error) == (hypotheses.span, hypotheses.largest_error)
    assert regret_certificate(hypotheses, steps=1000, delta=0.03, algorithm="mle-loop").alpha == pytest.approx(0.09)
    for algorithm in ("loop", "mle-loop"):
        assert regret_certificate(hypotheses, steps=1000, delta=0.5, algorithm=algorithm).alpha == 1.0
    assert found.to_json().startswith('{\n  "bound": ')


def test_the_dimension_of_a_certificate_is_at_scale_one_over_the_steps() -> None:
    hypotheses = hard_class(3, 10.0, 0.06)
    used = {steps: regret_certificate(hypotheses, steps=steps, delta=0.05).dimension for steps in (2, 3, 4, 8, 1000)}
    assert used == {steps: hypotheses.dimension(1.0 / steps).upper for steps in used}
    assert used[2] < used[3] < used[1000] == 4


def test_the_first_hypothesis_without_its_backup_is_named() -> None:
    """The true member, here the first, stands for its own backup."""
    rng = np.random.default_rng(0)
    models = [mdps.TabularMDP(rng.dirichlet(np.ones(3), size=(3, 2)), rng.uniform(-1.0, 1.0, size=(3, 2))) for _ in range(4)]
    base = model_class(models[0], models)
    found = value_class(models[0], base.action_value, base.gain, auxiliary=base.target[[5, 7]])
    assert found.completion.tolist() == [0, 4, -1, 5]
    with pytest.raises(ValueError, match="lacks r . P V_f of hypothesis 2;"):
        regret_certificate(found, steps=100, delta=0.1)


def test_a_gain_that_is_off_is_charged_for_the_member_that_is_the_truth() -> None:
    models = [hard_mixture(2, 10.0, 0.06, signs=signs) for signs in ((1, -1), (1, 1))]
    found = regret_certificate(model_class(hard_mixture(2, 10.0, 0.06), models), steps=10**6, delta=0.1, algorithm="mle-loop")
    assert found.rounding < 0.1


@pytest.mark.parametrize(("dimension", "span", "steps", "delta"), [(1, 2.0, 10, 0.01), (3, 0.5, 10**6, 0.3), (5, 7.0, 10**9, 0.2)])
def test_linear_certificates_are_the_printed_bound(dimension: int, span: float, steps: int, delta: float) -> None:
    """||phi|| <= sqrt 2; the error of f is <phi, omega + J e - w> with ||omega|| <= sp sqrt(d)/2, |J| <= 1, ||w|| <= sqrt(d) (1 + sp/2)."""
    found = linear_regret_certificate(dimension, span=span, steps=steps, delta=delta)
    with mpmath.workdps(40):
        root, sp, t = mpmath.sqrt(dimension), mpmath.mpf(span), mpmath.mpf(steps)
        auxiliary = root * (1 + sp / 2)
        weight = sp * root / 2 + 1 + auxiliary
        error, largest = mpmath.sqrt(2) * weight, mpmath.sqrt(2) * auxiliary + 1 + sp / 2
        log_g = dimension * mpmath.log(1 + 2 * auxiliary * mpmath.sqrt(2) * t)
        # The ball of weights, and intervals of radius 1/T for the gain.
        log_h = dimension * mpmath.log(1 + 2 * (sp * root / 2) * mpmath.sqrt(2) * t) + mpmath.log(t + 1)
        beta = sp**2 * (mpmath.log(t) + log_h + log_g - mpmath.log(mpmath.mpf(delta))) + 2 * (10 * largest + 9 * error)
        check(found, "linear", error, log_h, log_g, beta, float(weight), math.sqrt(2.0), dimension)


@pytest.mark.parametrize(("radius", "norm"), [(1.0, 1.0), (3.0, 0.4)])
@pytest.mark.parametrize(("dimension", "span", "steps", "delta"), [(1, 2.0, 10, 0.01), (4, 0.6, 10**7, 0.3)])
def test_mixture_certificates_are_the_printed_bound(dimension: int, span: float, steps: int, delta: float, radius: float, norm: float) -> None:
    """Values have |V| <= sp/2, so features of P V are bounded by sp L/2; two parameters of norm R differ by 2 R at most."""
    found = linear_mixture_regret_certificate(dimension, span=span, steps=steps, delta=delta, radius=radius, feature_norm=norm)
    with mpmath.workdps(40):
        sp, t = mpmath.mpf(span), mpmath.mpf(steps)
        feature = sp / 2 * mpmath.mpf(norm)
        error, largest = 2 * mpmath.mpf(radius) * feature, mpmath.mpf(radius) * feature + sp / 2
        log_size = dimension * mpmath.log(1 + 2 * mpmath.mpf(radius) * feature * t)
        beta = sp**2 * (mpmath.log(t) + 2 * log_size - mpmath.log(mpmath.mpf(delta))) + 2 * (10 * largest + 9 * error)
        check(found, "linear-mixture", error, log_size, log_size, beta, 2.0 * radius, float(feature), dimension)


def check(
    found: RegretCertificate,
    setting: str,
    error: mpmath.mpf,
    log_h: mpmath.mpf,
    log_g: mpmath.mpf,
    beta: mpmath.mpf,
    weight: float,
    norm: float,
    dimension: int,
) -> None:
    assert (found.setting, found.algorithm) == (setting, "loop")
    for name, exact in (("largest_error", error), ("log_hypotheses", log_h), ("log_functions", log_g), ("radius", beta)):
        assert getattr(found, name) == pytest.approx(float(exact), rel=1e-13), name
    assert found.dimension == eluder_limit(dimension, weight * norm * found.steps)
    assert found.dimension == loop_agec.linear_eluder_bound(dimension, weight, norm, 1.0 / found.steps)
    assert_tight(found.bound, printed_bound(found, mpmath.mpf(found.radius)))
    d, t = found.dimension, mpmath.mpf(found.steps)
    assert found.switches == pytest.approx(float(1 + 10 * d * (1 + mpmath.log(t)) + (d * error**2 + 1) / beta), rel=1e-12)
    assert found.alpha == pytest.approx(min(1.0, 4 * found.delta))
    assert found.trivial == 2.0 * found.steps
    assert found.rounding == 0.0


def eluder_limit(dimension: int, ratio: float) -> int:
    """Return the smallest over c of the largest n with n log((2 + c)/(1 + c)) < d log(1 + n ratio^2/(c d)), n after n."""
    best = None
    for c in np.geomspace(1e-3, 1e3, 241):
        n = 1
        while n * math.log((2.0 + c) / (1.0 + c)) < dimension * math.log1p(n * ratio**2 / (c * dimension)):
            n += 1
            if best is not None and n > best:
                break
        best = n - 1 if best is None else min(best, n - 1)
    assert best is not None
    return best
