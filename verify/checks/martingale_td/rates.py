"""G3, G3.4, G7, G8-clt: limits of small steps, small noise, long paths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from certify.martingale import fixed_point
from mdps.diffusions import BrownianMotion, OrnsteinUhlenbeck, Polynomial
from theory.martingale_td import lstd_asymptotic_covariance, small_noise_constant, small_noise_minimiser
from verify.check import Check, Control
from verify.checks.martingale_td.common import T, X, guarantee, integrate
from verify.statistics import fit_slope
from verify.types import Basis, Claim, Estimate, Instance, Slack

__all__ = ["CHECKS"]


def _mean_square(model: Any, critic: Polynomial, steps: int) -> float:
    """Return sum_i E D_i^2 on N steps with left rewards."""
    dt = float(model.horizon) / steps
    g = math.exp(-float(model.discount) * dt)
    now = model.reward * dt - critic
    later, mixed = model.conditional(critic * critic, dt) * g**2, model.conditional(critic, dt) * (2 * g) * now + now * now
    return float(sum(model.mean(later + mixed, i * dt) for i in range(steps)))


def _slope(grids: Any, errors: Any) -> Estimate:
    """Fit the order of a bias in the time step: the points are exact, the interval shows their curvature."""
    return fit_slope(1.0 / np.asarray(grids, dtype=float), np.abs(errors))


WINDOW = Estimate(1.0, 0.95, 1.05)
GRIDS = (32, 64, 128, 256)


def _g3_instances(budget: str, seed: int) -> list[Instance]:
    return [Instance(f"theta {th:g}, discount {b:g}", {"theta": th, "discount": b}) for th, b in ((-2.0, 0.0), (3.0, 0.0), (0.0, 1.0), (-2.0, 1.0))]


def _g3(instance: Instance, *, discounted: bool) -> tuple[Estimate, Estimate]:
    th, beta = instance.params["theta"], instance.params["discount"]
    critic = X**2 * (1 + th * (1 - T)) + (1 - T)
    model = BrownianMotion(terminal=X**2, discount=beta)
    slope = critic.derivative("x")
    limit = integrate(lambda t: (math.exp(-2 * beta * t) if discounted else 1.0) * float(model.mean(slope * slope, t)), 0.0, 1.0)
    return _slope(GRIDS, [_mean_square(model, critic, n) - limit for n in GRIDS]), WINDOW


def g3_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Slope of the distance between sum E D^2 and E int |s' grad J|^2 against the number of steps, all moments exact."""
    return _g3(instance, discounted=False)


def _g3_figure(figure: Any) -> None:
    axes = figure.subplots()
    model = BrownianMotion(terminal=X**2)
    thetas = np.linspace(-4, 2, 61)
    for n in (4, 16, 256):
        axes.plot(thetas, [_mean_square(model, X**2 * (1 + float(th) * (1 - T)) + (1 - T), n) for th in thetas], label=f"sum of E D^2, N = {n}")
    quadratic = [4 * integrate(lambda t, th=th: (1 + th * (1 - t)) ** 2 * t, 0.0, 1.0, 8) for th in thetas]
    axes.plot(thetas, quadratic, "k--", label="quadratic variation")
    axes.axvline(0, color="0.5", ls=":", label="truth")
    axes.set_xlabel("theta")
    axes.set_ylabel("objective")
    axes.legend()


def _g3_discounted(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return _g3(instance, discounted=True)


def _small_noise(ratio: float, steps: int) -> float:
    """Return the MSTDE minimiser for dX = -X dt + s dW from 1, s^2 = ratio dt, critic th p(t) x^2 + c(t) with the true p and c."""
    dt = 1.0 / steps
    s = math.sqrt(ratio * dt)
    model = OrnsteinUhlenbeck(kappa=1.0, sigma=s, horizon=1.0, start=1.0)
    p = [-math.expm1(-2.0 * (1.0 - i * dt)) / 2.0 for i in range(steps + 1)]
    c = [s * s * integrate(lambda u: -math.expm1(-2.0 * (1.0 - u)) / 2.0, i * dt, 1.0, 8) for i in range(steps + 1)]
    top = bottom = 0.0
    for i in range(steps):
        t = i * dt
        u, v = p[i + 1] * X**2, -p[i] * X**2
        rest = X**2 * dt + (c[i + 1] - c[i])
        ahead = model.conditional(u, dt)
        bottom += float(model.mean(model.conditional(u * u, dt) + 2 * ahead * v + v * v, t))
        top += float(model.mean((ahead + v) * rest, t))
    return -top / bottom


def _g34_instances(budget: str, seed: int) -> list[Instance]:
    ratios = (0.1, 1.0, 10.0) if budget == "quick" else (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
    return [Instance(f"s^2/dt = {r:g}", {"ratio": r, "steps": 400}) for r in ratios]


def g34_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The exact minimiser on 400 steps, against 1 / (1 + C s^2/dt)."""
    p = instance.params
    return Estimate.numeric(_small_noise(p["ratio"], p["steps"])), Estimate.numeric(small_noise_minimiser(p["ratio"], small_noise_constant(1.0, 1.0)))


def _g34_one(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return g34_sides(instance, seed)[0], Estimate.numeric(small_noise_minimiser(instance.params["ratio"], 1.0))


def _g34_figure(figure: Any) -> None:
    axes = figure.subplots()
    ratios = np.logspace(-2, 2, 60)
    axes.semilogx(ratios, small_noise_minimiser(ratios, small_noise_constant(1.0, 1.0)), label="1 / (1 + C s^2/dt), C = 0.8971")
    points = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    axes.semilogx(points, [_small_noise(r, 200) for r in points], "o", label="minimiser, 200 steps")
    axes.axhline(1.0, color="0.5", ls=":", label="truth")
    axes.set_xlabel("s^2 / dt")
    axes.set_ylabel("MSTDE minimiser of theta")
    axes.legend()


def _g7_instances(budget: str, seed: int) -> list[Instance]:
    return [Instance(f"{method} on {model}, {rule}", {"method": method, "model": model, "rule": rule})
            for method, model, rule in (("td0", "brownian", "left"), ("martingale-loss", "brownian", "left"),
                                        ("td0", "ornstein-uhlenbeck", "left"), ("td0", "ornstein-uhlenbeck", "trapezoid"))]


def _bias(params: Any, steps: int) -> float:
    """Return the distance of the fixed point on a grid from its limit."""
    if params["model"] == "brownian":
        model: Any = BrownianMotion(reward=X**2)
        phi = [(1 - T) * X**2]
    else:
        model, phi = OrnsteinUhlenbeck(1.0, 0.7, 0.5), [X**2, X**0]
    pair = [fixed_point(model, phi, method=params["method"], steps=n, reward_rule=params["rule"]).theta[0] for n in (steps, None)]
    return float(pair[0] - pair[1])


def _g7(instance: Instance, *, order_of_left: float) -> tuple[Estimate, Estimate]:
    grids = (32, 64, 128, 256)
    order = order_of_left if instance.params["rule"] == "left" else 2.0
    return _slope(grids, [_bias(instance.params, n) for n in grids]), Estimate(order, 0.93 * order, 1.07 * order)


def g7_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Slope of the bias of exact fixed points against the number of steps: 1 with left rewards, 2 with trapezoidal ones."""
    return _g7(instance, order_of_left=1.0)


def _g7_second(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return _g7(instance, order_of_left=2.0)


def _g7_figure(figure: Any) -> None:
    axes = figure.subplots()
    grids = np.array([4, 8, 16, 32, 64, 128])
    for instance in _g7_instances("quick", 0):
        axes.loglog(1 / grids, [abs(_bias(instance.params, int(n))) for n in grids], "o-", ms=3, label=instance.name)
    axes.loglog(1 / grids, 5 / 12 / grids, "k:", label="(5/12) dt")
    axes.set_xlabel("time step")
    axes.set_ylabel("bias of the fixed point")
    axes.legend(fontsize=8)


DT = 0.05


def _lstd_per_path(runs: int, length: float, seed: int) -> Any:
    """Return the LSTD coefficients (k2, k0) of each of `runs` independent stationary paths."""
    model = OrnsteinUhlenbeck(1.0, 0.7, 0.5)
    steps = round(length / DT)
    parts = []
    for block in range(0, runs, 100):
        paths = model.sample(paths=min(100, runs - block), steps=steps, duration=length, seed=seed + block)
        x = paths.state[:, :, 0]
        g = math.exp(-0.5 * DT)
        now, later = np.stack([x[:, :-1] ** 2, np.ones_like(x[:, 1:])], 2), np.stack([x[:, 1:] ** 2, np.ones_like(x[:, 1:])], 2)
        gain = 0.5 * DT * (paths.reward[:, :-1] + g * paths.reward[:, 1:])
        a = np.einsum("pia,pib->pab", now, now - g * later)
        b = np.einsum("pia,pi->pa", now, gain)
        parts.append(np.linalg.solve(a, b[:, :, None])[:, :, 0])
    return np.concatenate(parts)


def _variance_estimate(values: Any, length: float, failure: float) -> Estimate:
    """Return T times the sample variance with chi-squared limits."""
    from scipy.stats import chi2

    freedom = values.size - 1
    scaled = float(length * np.var(values, ddof=1))

    def limits(level: float) -> tuple[float, float]:
        return scaled * freedom / float(chi2.isf(level / 2, freedom)), scaled * freedom / float(chi2.ppf(level / 2, freedom))

    low, high = limits(failure)
    return Estimate(scaled, low, high, failure=failure, basis=Basis.SAMPLED, relimit=limits)


def _clt_instances(budget: str, seed: int) -> list[Instance]:
    return [Instance("paths of length 200", {"runs": 2000 if budget == "quick" else 8000, "length": 200.0})]


def clt_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """T times the variance of the coefficient of x^2 over independent paths, against the limit; a quarter of slack for finite T."""
    p = instance.params
    values = _lstd_per_path(int(p["runs"]), p["length"], seed)[:, 0]
    return _variance_estimate(values, p["length"], 1e-3), Estimate.numeric(lstd_asymptotic_covariance(1.0, 0.7, 0.5)[0, 0])


def _clt_half(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    left, right = clt_sides(instance, seed)
    return left, Estimate.numeric(0.5 * right.value)


def _clt_figure(figure: Any) -> None:
    axes = figure.subplots()
    values = _lstd_per_path(600, 100.0, 1)[:, 0]
    spread = math.sqrt(lstd_asymptotic_covariance(1.0, 0.7, 0.5)[0, 0] / 100.0)
    grid = np.linspace(0.4 - 4 * spread, 0.4 + 4 * spread, 200)
    axes.hist(values, bins=35, density=True, alpha=0.6, label="LSTD on 600 paths of length 100")
    axes.plot(grid, np.exp(-0.5 * ((grid - 0.4) / spread) ** 2) / (spread * math.sqrt(2 * math.pi)), "k-", label="limit law")
    axes.set_xlabel("coefficient of x^2")
    axes.set_ylabel("density")
    axes.legend()


CHECKS = (
    Check(guarantee("G3"), Claim("within"), _g3_instances, g3_sides, (Control("limit with the factor e^{-2 beta t}", _g3_discounted),), _g3_figure,
          cost={"quick": 3.0, "full": 3.0}),
    Check(guarantee("G3.4"), Claim("==", Slack(relative=0.03)), _g34_instances, g34_sides, (Control("C = 1", _g34_one),), _g34_figure, cost={"quick": 2.0, "full": 4.0}),
    Check(guarantee("G7"), Claim("within"), _g7_instances, g7_sides, (Control("left rewards of second order", _g7_second),), _g7_figure, cost={"quick": 3.0, "full": 3.0}),
    Check(guarantee("G8-clt"), Claim("==", Slack(relative=0.25)), _clt_instances, clt_sides, (Control("half the noise", _clt_half),), _clt_figure, alpha=1e-4,
          cost={"quick": 3.0, "full": 12.0}),
)
