"""AGEC by its definition: every sequence is tried, and no smaller number serves the witness."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from certify.complexity import agec


def sums(errors: np.ndarray, sequence: tuple[tuple[int, int], ...]) -> tuple[float, float, float, float]:
    """Return sum E, sum E^2, the double sum of in-sample squares, and the largest inner one."""
    inner = [sum(errors[f, y] ** 2 for _, y in sequence[:t]) for t, (f, _) in enumerate(sequence)]
    played = [errors[f, x] for f, x in sequence]
    return sum(played), sum(e**2 for e in played), sum(inner), max(inner)


@pytest.mark.parametrize(("shape", "steps", "epsilon"), [((2, 3), 3, 0.02), ((3, 2), 4, 0.1), ((1, 2), 5, 0.3), ((2, 2), 2, 0.01)])
@pytest.mark.parametrize("burn_in", [None, 0.4])
def test_the_numbers_are_the_smallest_that_serve_every_sequence(shape: tuple[int, int], steps: int, epsilon: float, burn_in: float | None) -> None:
    errors = np.random.default_rng(7).normal(size=shape)
    found = agec(errors, steps=steps, epsilon=epsilon, burn_in=burn_in)
    free = np.abs(errors).max() if burn_in is None else burn_in
    assert found.burn_in == free

    def dominated(d: float, s: tuple[float, float, float, float]) -> bool:
        return s[0] <= (np.sqrt(d * s[2]) + free * min(d, steps) + steps * epsilon) * (1 + 1e-12)

    def transferred(k: float, s: tuple[float, float, float, float]) -> bool:
        return s[1] <= (k * s[3] * np.log(steps) + free**2 * min(k, steps) + 2 * steps * epsilon**2) * (1 + 1e-12)

    pairs = list(product(range(shape[0]), range(shape[1])))
    every = [sums(errors, s) for s in product(pairs, repeat=steps)]
    for number, witness, serves in ((found.dominance, found.dominance_witness, dominated), (found.transferability, found.transferability_witness, transferred)):
        assert len(witness) == steps
        assert np.isinf(number) or all(serves(number, s) for s in every)
        assert number == 0.0 or not serves(min(number, 1e9) * (1 - 1e-6), sums(errors, witness))


def test_errors_of_one_sign_only_still_burn_in() -> None:
    """C is the largest |E|, whatever its sign."""
    assert agec([[-2.0, 0.5]], steps=2, epsilon=0.1).burn_in == 2.0


def test_four_million_sequences_are_enumerated_and_no_more() -> None:
    with pytest.raises(ValueError, match=r"at most 4000000, got 2\^22 = 4194304"):
        agec([[1.0, 0.5]], steps=22, epsilon=0.1)
