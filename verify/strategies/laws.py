"""Strategies for probability vectors, laws of a return and the inner problems of robust dynamic programming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from verify._validate import require_choice, require_int
from verify.strategies._draws import Draw, draw_codes, draw_rewards, draw_weights, normalised, require_range, reward_levels

if TYPE_CHECKING:
    from certify.returns.laws import Law

__all__ = ["RobustInstance", "distributions", "return_laws", "robust_instances"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RobustInstance:
    """One inner problem of robust dynamic programming: the arguments of `mdps.robust.worst_case`.

    Attributes
    ----------
    values, nominal : array (n,)
        What to minimise, and the nominal distribution.
    options : dict
        `divergence` and `radius` or `penalty`, with `weights` or `cost` where the divergence needs them.
    """

    values: FloatArray
    nominal: FloatArray
    options: dict[str, Any]


def distributions(size: int | None = None, *, max_size: int = 6, zeros: bool = True) -> st.SearchStrategy[FloatArray]:
    """Return probability vectors.

    Parameters
    ----------
    size : int, optional
        Length; drawn from 1 to `max_size` by default.
    max_size : int
        Largest length drawn.
    zeros : bool
        Allow exact zeros.

    Returns
    -------
    SearchStrategy
        Of arrays that sum to 1; the simplest puts all mass on the first entry, or is uniform without zeros.

    Raises
    ------
    ValueError
        If a size is below 1.
    """
    require_int("max_size", max_size, minimum=1)
    if size is not None:
        require_int("size", size, minimum=1)
    length = st.integers(1, max_size) if size is None else st.just(size)

    @st.composite
    def build(draw: Draw) -> FloatArray:
        n = draw(length)
        weights = draw_weights(draw, (n,), (size or max_size,))
        if not zeros:
            weights = 1.0 + weights
        return normalised(weights, np.eye(n)[0])

    return build()


def return_laws(*, max_atoms: int = 5, values: tuple[int, int] = (-4, 4), exact: bool = True) -> st.SearchStrategy[Law]:
    """Return laws of a return with finitely many atoms.

    Parameters
    ----------
    max_atoms : int
        Largest number of atoms drawn (equal ones merge).
    values : tuple of int
        Smallest and largest atom; atoms are multiples of 1/2.
    exact : bool
        Rational atoms and weights, or floats.

    Returns
    -------
    SearchStrategy
        Of `certify.returns.Law`.

    Raises
    ------
    ValueError
        If `max_atoms` is below 1 or the values do not form a range.
    """
    require_int("max_atoms", max_atoms, minimum=1)
    require_range("values", values)
    halves = sorted(range(2 * int(values[0]), 2 * int(values[1]) + 1), key=lambda k: (abs(k), k))

    @st.composite
    def build(draw: Draw) -> Law:
        from certify.returns.laws import Law

        n = draw(st.integers(1, max_atoms))
        codes = draw_codes(draw, (n,), (max_atoms,))
        weights = 1 + draw_codes(draw, (n,), (max_atoms,)) % 7
        atoms = [Fraction(halves[int(c) % len(halves)], 2) for c in codes]
        total = int(weights.sum())
        shares = [Fraction(int(w), total) for w in weights]
        return Law(atoms, shares) if exact else Law([float(a) for a in atoms], [float(p) for p in shares])

    return build()


def robust_instances(
    *, divergences: Sequence[str] | None = None, max_size: int = 6, penalised: bool | None = False
) -> st.SearchStrategy[RobustInstance]:
    """Return inner problems of robust dynamic programming, with ties and exact zeros.

    Parameters
    ----------
    divergences : sequence of str, optional
        Which divergences; by default all that `mdps.robust.worst_case` knows.
    max_size : int
        Largest number of successors.
    penalised : bool or None
        Give a penalty instead of a radius (for "tv", "kl" and "chi2" only); None draws which.

    Returns
    -------
    SearchStrategy
        Of `RobustInstance`.

    Raises
    ------
    ValueError
        If a divergence is unknown, or has no penalised form.
    """
    from mdps.robust.worst import DIVERGENCES, PENALTIES

    require_int("max_size", max_size, minimum=1)
    known = tuple(PENALTIES) if penalised else tuple(DIVERGENCES)
    chosen = known if divergences is None else tuple(divergences)
    for name in chosen:
        require_choice("divergences", name, known)
    levels = reward_levels((-2.0, 2.0))

    @st.composite
    def build(draw: Draw) -> RobustInstance:
        n = draw(st.integers(1, max_size))
        nominal = normalised(draw_weights(draw, (n,), (max_size,)), np.eye(n)[0])
        values = draw_rewards(draw, (n,), levels, (max_size,))
        name = draw(st.sampled_from(chosen))
        options: dict[str, Any] = {"divergence": name}
        use_penalty = penalised or (penalised is None and name in PENALTIES and draw(st.booleans()))
        if use_penalty:
            options["penalty"] = draw(st.sampled_from((1.0, 0.25, 4.0)))
        else:
            # shares of mass, and the level of a CVaR, stay below one
            options["radius"] = draw(st.sampled_from((0.0, 0.25, 0.5, 0.75) if name in ("contamination", "cvar") else (0.0, 0.25, 1.0, 0.03, 3.0)))
        if name == "weighted-l1" and not use_penalty:
            options["weights"] = 1.0 + (draw_codes(draw, (n,), (max_size,)) % 4) / 2.0
        if name == "wasserstein" and not use_penalty:
            place = (draw_codes(draw, (n,), (max_size,)) % 4).astype(np.float64)
            options["cost"] = np.abs(place[:, None] - place)
        return RobustInstance(values, nominal, options)

    return build()
