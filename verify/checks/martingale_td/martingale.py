"""G1, G2, G4, G9, G10: the martingale itself, its orthogonality, the loss, the wrong volatility, the test of a critic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mdps.diffusions import BlackScholes, LinearQuadratic, OrnsteinUhlenbeck, Polynomial
from theory.martingale_td import critic_gap_of_wrong_volatility
from verify.check import Check, Control
from verify.checks.martingale_td.common import T, X, guarantee, integrate, quartic
from verify.types import Claim, Estimate, Instance, Slack, Verdict, binomial_estimate

__all__ = ["CHECKS"]


def _lq(params: dict[str, Any]) -> LinearQuadratic:
    """Return a random linear-quadratic model of the given dimension."""
    rng = np.random.default_rng(int(params["model"]))
    d = int(params["dimension"])
    q, h = rng.normal(size=(d, d)), rng.normal(size=(d, d))
    return LinearQuadratic(rng.normal(size=(d, d)) - np.eye(d), 0.5 * rng.normal(size=(d, d)), q + q.T, h + h.T, params["discount"], 1.0)


def _lq_instances(budget: str, seed: int) -> list[Instance]:
    rng = np.random.default_rng(seed)
    count = 2 if budget == "quick" else 20
    return [
        Instance(f"LQ in dimension {d}, model {m}", {"dimension": d, "model": m, "discount": 0.3, "t": float(rng.uniform(0, 0.6)), "u": float(rng.uniform(0.1, 0.4)),
                                                  "state": [float(x) for x in rng.normal(size=d)]})
        for d in (1, 2, 3) for m in range(count)
    ]


def _martingale_sides(instance: Instance, bump: float = 0.0) -> tuple[Estimate, Estimate]:
    model = _lq(dict(instance.params))
    p = instance.params
    t, u, x, beta, end = p["t"], p["u"], np.array(p["state"]), p["discount"], 1.0
    phi, cov = model.transition(u)
    later, constant = model.coefficients(t + u)
    later = later + bump * (end - t - u) * np.eye(len(x))
    y = phi @ x
    expected = math.exp(-beta * u) * (y @ later @ y + float(np.trace(later @ cov)) + constant)

    def reward(s: float) -> float:
        step, spread = model.transition(s)
        z = step @ x
        return float(math.exp(-beta * s) * (z @ model.reward @ z + np.trace(model.reward @ spread)))

    expected += integrate(reward, 0.0, u, 12)
    now, level = model.coefficients(t)
    now = now + bump * (end - t) * np.eye(len(x))
    return Estimate.numeric(float(expected)), Estimate.numeric(float(x @ now @ x + level))


def g1_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Expected later martingale value given the state, from Gaussian transitions, against its present value."""
    return _martingale_sides(instance)


def _g1_end(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The critic J + e^{beta t} is a martingale too; at the end it differs from the terminal reward."""
    model, x = _lq(dict(instance.params)), np.array(instance.params["state"])
    shifted = float(model.value(1.0, x)) + math.exp(model.discount)
    return Estimate.numeric(shifted), Estimate.numeric(float(x @ model.terminal @ x))


def _g1_figure(figure: Any) -> None:
    axes = figure.subplots()
    sizes = np.logspace(-8, 0, 17)
    for d in (1, 2, 3):
        instance = next(i for i in _lq_instances("quick", 1) if i.params["dimension"] == d)
        defects = [abs(float(left.value) - float(right.value)) for left, right in (_martingale_sides(instance, b) for b in sizes)]
        axes.loglog(sizes, defects, "o-", ms=3, label=f"dimension {d}")
    axes.set_xlabel("size of the error in the critic")
    axes.set_ylabel("defect of the martingale property")
    axes.legend()


_BUMPS = (0.0, 0.5, -1.0)


def _g2_instances(budget: str, seed: int) -> list[Instance]:
    return [Instance(f"error {c} (1-t) x^2, test x^{j} on the cell from {s}", {"error": c, "power": j, "from": s, "cell": 0.25})
            for c in _BUMPS for j in (0, 2, 4) for s in (0.0, 0.5)]


def _orthogonality(instance: Instance, sign: float = 1.0) -> tuple[Estimate, Estimate]:
    p, model = instance.params, quartic()
    critic = model.value_polynomial() + p["error"] * (1 - T) * X**2
    test = Polynomial({(0, int(p["power"])): 1})
    s, cell = p["from"], p["cell"]
    increment = model.conditional(critic, cell) - critic
    left = float(model.mean(test * increment.at_time(s), s))
    slope = critic.derivative("x")
    residual = critic.derivative("t") + 0.5 * sign * slope.derivative("x") + model.reward
    right = integrate(lambda u: float(model.mean(test * model.conditional(residual, u).at_time(s), s)), 0.0, cell, 12)
    return Estimate.numeric(left), Estimate.numeric(right)


def g2_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """E xi (M at the end of a cell - M at its start) from transitions, against E int xi R dt from the residual rate."""
    return _orthogonality(instance)


def _g2_figure(figure: Any) -> None:
    axes = figure.subplots()
    model = quartic()
    errors = np.linspace(-2, 2, 41)
    for power, label in ((0, "test 1"), (2, "test x^2")):
        values = []
        for c in errors:
            critic = model.value_polynomial() + float(c) * (1 - T) * X**2
            residual = model.generator(critic)
            values.append(integrate(lambda t, r=residual, j=power: float(model.mean(X**j * r, t)), 0.0, 1.0, 12))
        axes.plot(errors, values, label=label)
    squares = [integrate(lambda t, c=c: float(model.mean(model.generator(float(c) * (1 - T) * X**2) ** 2, t)), 0.0, 1.0, 12) for c in errors]
    axes.plot(errors, squares, "k--", label="test R (detects every error)")
    axes.axhline(0, color="0.6", lw=0.8)
    axes.set_xlabel("error c in the critic J + c (1-t) x^2")
    axes.set_ylabel("E int xi dM")
    axes.legend()


def _g4_instances(budget: str, seed: int) -> list[Instance]:
    return [Instance(f"theta {th}, discount {b}", {"theta": th, "discount": b}) for th in (7.5, 9.0, -6.0) for b in (0.0, 0.5, 1.0)]


def _loss(instance: Instance, *, constant: bool = True, weighted: bool = True) -> tuple[Estimate, Estimate]:
    th, beta = instance.params["theta"], instance.params["discount"]
    model = quartic()
    critic, reward = X**4 + th * (1 - T) * X**2, X**4
    end_square = math.exp(-2 * beta) * float(model.mean(reward * reward, 1))

    def truth(t: float) -> Polynomial:
        return math.exp(-beta * (1 - t)) * model.conditional(reward, 1 - t).at_time(t)

    def gap(t: float) -> float:
        at = critic.at_time(t)
        cross = math.exp(-beta * (1 + t)) * float(model.mean(at * model.conditional(reward, 1 - t).at_time(t), t))
        return end_square - 2 * cross + math.exp(-2 * beta * t) * float(model.mean(at * at, t))

    def right(t: float) -> float:
        slope = truth(t).derivative("x")
        miss = truth(t) - critic.at_time(t)
        weight = math.exp(-2 * beta * t)
        value = (weight if weighted else 1.0) * float(model.mean(miss * miss, t))
        return value + (t * weight * float(model.mean(slope * slope, t)) if constant else 0.0)

    return Estimate.numeric(0.5 * integrate(gap, 0.0, 1.0, 20)), Estimate.numeric(0.5 * integrate(right, 0.0, 1.0, 20))


def g4_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The martingale loss by expanding second moments, against the constant plus the weighted value error."""
    return _loss(instance)


def _g4_unweighted(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return _loss(instance, weighted=False)


def _g4_figure(figure: Any) -> None:
    axes = figure.subplots()
    thetas = np.linspace(-8, 20, 29)
    sides = [_loss(Instance("", {"theta": float(th), "discount": 0.0})) for th in thetas]
    axes.plot(thetas, [float(left.value) for left, _ in sides], "o", ms=4, label="martingale loss")
    axes.plot(thetas, [float(right.value) for _, right in sides], "k-", lw=1, label="constant + value error")
    axes.axhline(33.6, color="0.5", ls="--", lw=1, label="the constant, 33.6")
    axes.axvline(7.5, color="C2", ls=":", label="minimiser 7.5")
    axes.set_xlabel("theta")
    axes.set_ylabel("loss")
    axes.legend()


def _g9_instances(budget: str, seed: int) -> list[Instance]:
    return [Instance(f"believed {q:g}, true {s:g}, rate {r:g}", {"believed": q, "true": s, "rate": r})
            for q in (0.1, 0.2, 0.4, 0.8) for s in (0.15, 0.3) for r in (0.0, 0.02, 0.1)]


def g9_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Difference of two Black-Scholes prices, against the integral of the wrong critic's residual."""
    p = instance.params
    prices = [float(BlackScholes(v, p["rate"]).value(0.0, 1.0)) for v in (p["true"], p["believed"])]
    return Estimate.numeric(prices[0] - prices[1]), Estimate.numeric(critic_gap_of_wrong_volatility(p["believed"], p["true"], rate=p["rate"]))


def _g9_broken(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    p = instance.params
    return g9_sides(instance, seed)[0], Estimate.numeric(critic_gap_of_wrong_volatility(p["believed"], p["true"], rate=p["rate"], mixed=False))


def _g9_figure(figure: Any) -> None:
    model = BlackScholes(0.3, 0.02)
    hermite, weights = np.polynomial.hermite_e.hermegauss(48)
    weights = weights / weights.sum()
    volatilities = np.linspace(0.1, 0.9, 33)

    def average(f: Any) -> float:
        """Integrate E f over time with t = 1 - u^2, which removes the singularity at maturity."""
        total = 0.0
        for u, w in zip(*_unit_legendre(40), strict=True):
            t = 1.0 - u * u
            s = np.exp((0.02 - 0.045) * t + 0.3 * math.sqrt(t) * hermite)
            total += w * 2.0 * u * float(weights @ f(t, s))
        return total

    quadratic = [average(lambda t, s, q=q: math.exp(-0.04 * t) * (0.3 * s * model.delta(t, s, volatility=q)) ** 2) for q in volatilities]
    error = [average(lambda t, s, q=q: math.exp(-0.04 * t) * (model.value(t, s) - model.value(t, s, volatility=q)) ** 2) for q in volatilities]
    left, right = figure.subplots(1, 2)
    for axes, values, name in ((left, quadratic, "quadratic variation"), (right, error, "mean-square value error")):
        axes.plot(volatilities, values)
        best = volatilities[int(np.argmin(values))]
        axes.axvline(best, color="C1", ls="--", label=f"minimum at {best:.3g}")
        axes.axvline(0.3, color="0.5", ls=":", label="truth 0.3")
        axes.set_xlabel("volatility of the critic")
        axes.set_ylabel(name)
        axes.legend()


def _unit_legendre(nodes: int) -> tuple[Any, Any]:
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return 0.5 * (1.0 + points), 0.5 * weights


MODEL = OrnsteinUhlenbeck(kappa=1.0, sigma=0.7, discount=0.5)
LEVEL, REPETITIONS, PATHS, STEPS = 0.05, 2000, 200, 10
MANY = 40_000


def _z(repetitions: int, seed: int, error: float, *, size: int = PATHS, rule: str = "trapezoid") -> Any:
    """Return the statistics of the tests x and 1 - t in independent repetitions, for the critic J + error (1 - t) sin 2x."""
    from certify.martingale import test_critic
    from mdps.diffusions import Paths

    truth = MODEL.value_polynomial()

    def critic(t: Any, x: Any) -> Any:
        return truth(0.0, x[:, :, 0]) + error * (1 - t) * np.sin(2 * x[:, :, 0])

    paths = MODEL.sample(paths=repetitions * size, steps=STEPS, duration=1.0, seed=seed)
    parts = [Paths(paths.time, paths.state[i : i + size], paths.reward[i : i + size]) for i in range(0, repetitions * size, size)]
    results = [test_critic(part, critic, tests=[X, 1 - T], alpha=LEVEL, discount=0.5, reward_rule=rule) for part in parts]
    return np.array([r.statistics for r in results]), sum(r.rejected for r in results)


def _g10_instances(budget: str, seed: int) -> list[Instance]:
    return [Instance("stationary Ornstein-Uhlenbeck", {"repetitions": REPETITIONS if budget == "quick" else 4 * REPETITIONS})]


def g10_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """How often the test rejects the correct critic on independent sets of paths, against its level."""
    repetitions = int(instance.params["repetitions"])
    return binomial_estimate(_z(repetitions, seed, 0.0)[1], repetitions), Estimate.exact(LEVEL)


def _g10_wrong(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return binomial_estimate(_z(200, seed, 0.37)[1], 200), Estimate.exact(LEVEL)


def _g10_left(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Reject the correct critic for the bias of the left rule, which so many paths see."""
    return binomial_estimate(_z(12, seed, 0.0, size=MANY, rule="left")[1], 12), Estimate.exact(LEVEL)


def _g10_figure(figure: Any) -> None:
    axes = figure.subplots()
    grid = np.linspace(-4.5, 4.5, 200)
    axes.hist(_z(1000, 1, 0.0)[0][:, 0], bins=40, density=True, alpha=0.6, label="correct critic")
    axes.hist(_z(200, 2, 0.05)[0][:, 0], bins=30, density=True, alpha=0.5, label="critic wrong by .05 (1-t) sin 2x")
    axes.plot(grid, np.exp(-0.5 * grid**2) / math.sqrt(2 * math.pi), "k-", lw=1, label="N(0, 1)")
    axes.set_xlabel("statistic of the test x")
    axes.set_ylabel("density")
    axes.legend()


_TIGHT = Claim("==", Slack(1e-10, 1e-9))

CHECKS = (
    Check(
        guarantee("G1"), _TIGHT, _lq_instances, g1_sides,
        (Control("1e-3 (T-t)|x|^2 added to the critic", lambda i, s: _martingale_sides(i, 1e-3)), Control("J + e^{beta t} at the end", _g1_end)),
        _g1_figure, cost={"quick": 1.0, "full": 4.0}, box={"t": (0.0, 0.6), "u": (0.05, 0.4)},
    ),
    Check(
        guarantee("G2"), _TIGHT, _g2_instances, g2_sides, (Control("sign of the second derivative flipped", lambda i, s: _orthogonality(i, -1.0)),), _g2_figure,
        box={"error": (-3.0, 3.0), "from": (0.0, 0.7)},
    ),
    Check(
        guarantee("G4"), _TIGHT, _g4_instances, g4_sides,
        (Control("without the constant", lambda i, s: _loss(i, constant=False)), Control("without the weight e^{-2 beta t}", _g4_unweighted)), _g4_figure,
        cost={"quick": 2.0, "full": 2.0}, box={"theta": (-10.0, 20.0), "discount": (0.0, 2.0)},
    ),
    Check(
        guarantee("G9"), Claim("==", Slack(1e-10, 1e-8)), _g9_instances, g9_sides, (Control("q instead of sigma in w_t", _g9_broken),), _g9_figure,
        box={"believed": (0.08, 0.9), "true": (0.08, 0.9), "rate": (0.0, 0.2)},
    ),
    Check(
        guarantee("G10"), Claim("<=", alternative=2.0), _g10_instances, g10_sides,
        (Control("a critic wrong by .37 (1-t) sin 2x", _g10_wrong, Verdict.VIOLATED), Control("left rewards on many paths", _g10_left)), _g10_figure, alpha=1e-6, cost={"quick": 5.0, "full": 15.0},
    ),
)
