"""Models and moments that several checks share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mdps.diffusions import BrownianMotion, OrnsteinUhlenbeck, Polynomial, variables
from theory import Guarantee, catalogue

__all__ = ["T", "X", "guarantee", "integrate", "legendre", "model_of", "normal_equations_by_hand", "quartic", "trace_root"]

T, X = variables()


def guarantee(name: str) -> Guarantee:
    """Return the guarantee `martingale_td/name`."""
    return catalogue()[f"martingale_td/{name}"]


def quartic() -> BrownianMotion:
    """Brownian motion on [0, 1] with terminal reward x^4."""
    return BrownianMotion(terminal=X**4)


def model_of(params: dict[str, Any]) -> BrownianMotion | OrnsteinUhlenbeck:
    """Build the finite-horizon model that an instance names: start, volatility, kappa (0: Brownian motion), discount, powers of the rewards."""
    reward = Polynomial({(0, int(params["reward_power"])): params["reward"]})
    terminal = Polynomial({(0, int(params["terminal_power"])): params["terminal"]})
    if params["kappa"] == 0:
        return BrownianMotion(reward, terminal, params["horizon"], params["start"], params["sigma"], params["discount"])
    return OrnsteinUhlenbeck(params["kappa"], params["sigma"], params["discount"], reward, terminal, params["horizon"], params["start"])


def legendre(low: float, high: float, nodes: int = 40) -> Any:
    """Yield Gauss-Legendre points and weights on [low, high]."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    half = 0.5 * (high - low)
    return zip(low + half * (1.0 + points), half * weights, strict=True)


def integrate(f: Any, low: float, high: float, nodes: int = 40) -> Any:
    """Return the integral of a scalar or array function by Gauss-Legendre."""
    return sum(weight * f(float(point)) for point, weight in legendre(low, high, nodes))


def normal_equations_by_hand(model: Any, phi: Sequence[Polynomial], psi: Polynomial, *, second_order: float = 1.0, law: Any = None, nodes: int = 40) -> tuple[Any, Any]:
    """Return A and b of TD(0) in the limit by quadrature over the Gaussian law of the state, with derivatives written out.

    `second_order` scales the second-derivative term, and `law` is the model whose states are averaged over; 1 and the model itself are right.
    """
    law = model if law is None else law
    hermite, weights = np.polynomial.hermite_e.hermegauss(24)
    weights = weights / weights.sum()
    kappa, square, beta = getattr(model, "kappa", 0.0), float(model.diffusion_square()), float(model.discount)
    k = len(phi)

    def residual(f: Polynomial, t: float, x: Any) -> Any:
        slope = f.derivative("x")
        return f.derivative("t")(t, x) - kappa * x * slope(t, x) + 0.5 * second_order * square * slope.derivative("x")(t, x) - beta * f(t, x)

    def at(t: float) -> Any:
        centre = float(law.mean(X, t))
        spread = math.sqrt(max(float(law.mean(X * X, t)) - centre**2, 0.0))
        x = centre + spread * hermite
        features = np.array([f(t, x) for f in phi])
        images = np.array([residual(f, t, x) for f in phi] + [residual(psi, t, x) + model.reward(t, x)])
        return math.exp(-beta * t) * (features * weights) @ images.T

    total = integrate(at, 0.0, float(model.horizon), nodes)
    return -total[:, :k], total[:, k]


def trace_root(model: Any, phi: Polynomial, psi: Polynomial, steps: int, factor: float) -> float:
    """Return the fixed point of TD with a trace multiplied by `factor` each step, one feature, no discount, backwards over the grid."""
    dt = float(model.horizon) / steps
    change, constant = model.conditional(phi, dt) - phi, model.conditional(psi, dt) - psi + model.reward * dt
    slope = offset = Polynomial()
    a = b = 0.0
    for i in reversed(range(steps)):
        t = i * dt
        slope = change.at_time(t) + model.conditional(slope, dt) * factor
        offset = constant.at_time(t) + model.conditional(offset, dt) * factor
        at = phi.at_time(t)
        a += float(model.mean(at * slope, t))
        b += float(model.mean(at * offset, t))
    return -b / a
