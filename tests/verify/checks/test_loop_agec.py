"""The checks of the average-reward paper: quick ones end as expected, exact helpers agree with slow twins."""

from __future__ import annotations

import numpy as np
import pytest

from verify import run
from verify.checks.loop_agec import CHECKS
from verify.checks.loop_agec._exact import leaving_probability
from verify.checks.loop_agec._planning import VARIANTS, plan, random_estimate


@pytest.mark.parametrize("number", ["G3", "G4", "G7", "G8", "G9", "G12", "G12-printed", "G13"])
def test_quick_checks_end_as_expected(number: str) -> None:
    result = run([f"loop_agec/{number}"]).results[f"loop_agec/{number}"]
    assert not result.error
    assert result.as_expected, (result.verdict, dict(result.controls))


@pytest.mark.slow
def test_all_checks_end_as_expected() -> None:
    results = run("loop_agec").results
    assert {key: r.verdict for key, r in results.items() if not r.as_expected} == {}
    assert len(results) == len(CHECKS)


def test_leaving_probability_encloses_a_simulation() -> None:
    rng = np.random.default_rng(0)
    shifts, radius, steps = np.array([0.3, -0.2]), 1.0, 400
    noise = rng.choice([-0.5, 0.5], size=(4000, steps))
    count, total = np.arange(1, steps + 1), np.cumsum(noise, axis=1)
    excess = np.max([-(d * d * count + 2 * d * total) for d in shifts], axis=0)
    observed = float((excess.max(axis=1) > radius).mean())
    low, high = leaving_probability(1.0, shifts, radius, steps)
    assert low <= high
    assert abs(observed - low) < 5 * np.sqrt(low / 4000)


def test_leaving_probability_of_the_gamble() -> None:
    """With a radius of 2 sp log(64/0.05) the truth is lost for spans 64 and 1024; at span 4 both radii agree."""
    log = np.log(64 / 0.05)
    for span, first in ((4.0, 0.01), (64.0, 1.0), (1024.0, 1.0)):
        shifts = np.linspace(-span / 2, span / 2, 64)
        printed = leaving_probability(span, shifts, 2 * span * log, 300)[0]
        assert (printed < first) if span == 4.0 else (printed > 0.999)
        assert leaving_probability(span, shifts, span**2 / 2 * log, 300)[0] < 0.005


def test_broken_planners_change_policies() -> None:
    different = {variant: 0 for variant in VARIANTS}
    for index in range(100):
        estimate = random_estimate(index)
        reference = plan(*estimate, 1e-6, "jacobi")
        for variant in VARIANTS:
            different[variant] += not np.array_equal(plan(*estimate, 1e-3, variant), reference)
    assert different["stale kernel"] > 0
    assert different["in-place"] > 0
