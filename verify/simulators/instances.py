"""Instances for the simulators: the hard family as a class and as a linear mixture, and instances named in one word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from verify._validate import require_choice

if TYPE_CHECKING:
    from certify.complexity import FiniteClass
    from mdps import TabularMDP

__all__ = ["FAMILIES", "LinearMixture", "hard_class", "hard_features", "parse_instance"]

FloatArray = NDArray[np.float64]

_LARGEST_KERNEL = 1 << 25


@dataclass(frozen=True, eq=False)
class LinearMixture:
    """A model P(s'|s, a) = <theta, phi(s, a, s')> with known features.

    Parameters
    ----------
    mdp : TabularMDP
        The true model.
    features : array, shape (S, A, S, d)
        phi(s, a, s').
    theta : array, shape (d,)
        The truth.
    diameter : float
        Bound D on the diameter that the learner is told.

    Raises
    ------
    ValueError
        If the features do not reproduce the kernel.
    """

    mdp: TabularMDP
    features: FloatArray = field(repr=False)
    theta: FloatArray
    diameter: float

    def __post_init__(self) -> None:
        shape = (self.mdp.n_states, self.mdp.n_actions, self.mdp.n_states, len(self.theta))
        if self.features.shape != shape:
            raise ValueError(f"features must have shape {shape}, got {self.features.shape}")
        distance = float(np.abs(self.features @ self.theta - self.mdp.dense()).max())
        if not distance <= 1e-9:
            raise ValueError(f"features must reproduce the kernel of the true model, off by {distance:.3g}")


def hard_class(dimension: int, diameter: float, gap: float) -> FiniteClass:
    """Return the hard two-state family as a class: one hypothesis for each of the 2^dimension sign vectors; the truth is all +1.

    Parameters
    ----------
    dimension : int
        Length of the sign vectors, 1 to 6.
    diameter : float
        D.
    gap : float
        Delta.

    Returns
    -------
    FiniteClass
        |H| = 2^dimension and |G| = 2 |H|, with the kernels.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Source: loop_agec, hard linear-mixture family.
    """
    from certify.complexity import model_class
    from mdps.families import hard_mixture

    if not 1 <= dimension <= 6:
        raise ValueError(f"dimension must be between 1 and 6 for a class of sign vectors, got {dimension!r}")
    models = [hard_mixture(dimension, diameter, gap, signs=signs) for signs in product((-1, 1), repeat=dimension)]
    return model_class(models[-1], models)


def hard_features(dimension: int, diameter: float, gap: float) -> LinearMixture:
    """Return the hard two-state family as a linear mixture with d = dimension + 1 features.

    Parameters
    ----------
    dimension : int
        Length of the sign vectors, 1 to 10.
    diameter : float
        D.
    gap : float
        Delta.

    Returns
    -------
    LinearMixture
        phi(0, a, 1) = (a / sqrt(d - 1), 1/D), scaled so that all parameters are of comparable size.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Source: loop_agec, hard linear-mixture family.
    """
    from mdps.families import hard_mixture

    if not 1 <= dimension <= 10:
        raise ValueError(f"dimension must be between 1 and 10 for explicit features, got {dimension!r}")
    mdp = hard_mixture(dimension, diameter, gap)
    signs = np.array(list(product((-1.0, 1.0), repeat=dimension)))
    features = np.zeros((2, len(signs), 2, dimension + 1))
    features[0, :, 1, :-1] = signs / np.sqrt(dimension)
    features[0, :, 0, :-1] = -signs / np.sqrt(dimension)
    features[0, :, 1, -1] = features[1, :, 0, -1] = 1.0 / diameter
    features[0, :, 0, -1] = features[1, :, 1, -1] = 1.0 - 1.0 / diameter
    theta = np.append(np.full(dimension, gap / np.sqrt(dimension)), 1.0)
    return LinearMixture(mdp, features, theta, diameter)


def _river_swim(states: float) -> Any:
    from mdps.families import river_swim

    count = _whole("states", states)
    _require_size(count, 2)
    return river_swim(count)


def _two_loops() -> Any:
    from mdps.families import two_loops

    return two_loops()


def _gamble(span: float) -> Any:
    from mdps.families import gamble

    return gamble(span)


def _random(states: float, actions: float, seed: float = 0) -> Any:
    """Return a model with Dirichlet(0.3) rows and rewards in [0, 1]."""
    import mdps

    s, a = _whole("states", states), _whole("actions", actions)
    _require_size(s, a)
    rng = np.random.Generator(np.random.Philox(_whole("seed", seed, minimum=0)))
    return mdps.TabularMDP(rng.dirichlet(np.full(s, 0.3), size=(s, a)), rng.random((s, a)))


def _require_size(states: int, actions: int) -> None:
    """Refuse a kernel too large to be kept dense."""
    if states * actions * states > _LARGEST_KERNEL:
        raise ValueError(f"states must keep states^2 * actions at most {_LARGEST_KERNEL}, got {states} states and {actions} actions")


FAMILIES: dict[str, tuple[Callable[..., Any], str]] = {
    "river-swim": (_river_swim, "river-swim:STATES"),
    "hard": (hard_class, "hard:DIMENSION,DIAMETER,GAP"),
    "gamble": (_gamble, "gamble:SPAN"),
    "two-loops": (_two_loops, "two-loops"),
    "random": (_random, "random:STATES,ACTIONS[,SEED]"),
}


def parse_instance(text: str, *, algorithm: str = "ucrl2") -> Any:
    """Build an instance from its name, in the form that an algorithm needs.

    Parameters
    ----------
    text : str
        FAMILY or FAMILY:NUMBER,NUMBER,..., for instance `river-swim:6` or `hard:3,10,0.06`.
    algorithm : str
        "loop" and "mle-loop" get a finite class, "ucrl2-vtr" a linear mixture (both of the family `hard` only), the others a model.

    Returns
    -------
    TabularMDP, FiniteClass or LinearMixture
        The instance.

    Raises
    ------
    ValueError
        If the family is unknown, its numbers are wrong, or it has no such form.

    Examples
    --------
    >>> parse_instance("river-swim:6").n_states
    6
    """
    name, _, rest = text.partition(":")
    require_choice("instance", name, tuple(FAMILIES))
    builder, usage = FAMILIES[name]
    try:
        numbers = [float(part) for part in rest.split(",")] if rest else []
    except ValueError:
        raise ValueError(f"instance must have the form {usage}, got {text!r}") from None
    if not all(np.isfinite(numbers)):
        raise ValueError(f"instance must have the form {usage} with finite numbers, got {text!r}")
    if algorithm in ("loop", "mle-loop", "ucrl2-vtr") and name != "hard":
        raise ValueError(f"instance must be of the family hard (hard:DIMENSION,DIAMETER,GAP) for algorithm {algorithm}, got {text!r}")
    if name == "hard":
        if len(numbers) != 3:
            raise ValueError(f"instance must have the form {usage}, got {text!r}")
        arguments = (_whole("dimension", numbers[0]), numbers[1], numbers[2])
        if algorithm == "ucrl2-vtr":
            return hard_features(*arguments)
        if algorithm in ("loop", "mle-loop"):
            return hard_class(*arguments)
        from mdps.families import hard_mixture

        return hard_mixture(*arguments)
    try:
        return builder(*numbers)
    except TypeError:
        raise ValueError(f"instance must have the form {usage}, got {text!r}") from None


def _whole(name: str, value: float, *, minimum: int = 1) -> int:
    if not float(value).is_integer() or value < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")
    return int(value)
