"""Reward certificates: reference pairs, a planted suite with known truth, coverage with power, properties, JSON, bad input."""

from __future__ import annotations

import json
import math
import os
import stat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import binom

from certify.smoothing import certified_budget, certified_radius, certified_threshold, certify_curve
from certify.smoothing.bands import BANDS
from certify.smoothing.certificates import RewardCertificate
from certify.smoothing.protocols import Protocol, as_protocol
from certify.smoothing.returns import Returns
from theory import policy_smoothing as bound

SOUND = [band for band in BANDS if band != "plugin"]
PARTS = ("plugin", "clopper-pearson", "dkw", "dkw-one-sided", "equal-local-level")


def survival_returns() -> np.ndarray:
    counts = np.floor(10_000 * (1 - (np.arange(200) / 400) ** 2)).astype(int)
    returns = np.zeros(10_000)
    for i, count in enumerate(counts):
        returns[:count] = i + 1
    return returns


QUAD = {
    0.1: (172.72528562, 170.21342685, 168.34586900, 168.76449686, 170.44346238),
    0.3: (140.48752225, 136.11638228, 131.33205796, 132.12093041, 136.51078760),
    0.5: (99.07697304, 93.14519581, 84.77141948, 85.81799542, 93.66429011),
    1.0: (20.62639863, 15.31372648, 9.08428161, 9.48780278, 15.66070180),
}


@pytest.mark.parametrize(("column", "band"), list(enumerate(PARTS)))
def test_reference_quad(column, band):
    certificate = certify_curve(survival_returns(), sigma=0.3, budgets=list(QUAD), thresholds=np.arange(1.0, 201.0), band=band)
    assert certificate.lower == pytest.approx([row[column] for row in QUAD.values()], abs=1e-6)


def test_reference_binary_and_pong():
    binary = certify_curve(np.r_[np.ones(9712), np.zeros(288)], sigma=0.2, budgets=[0, 0.1, 0.2, 0.4, 1.0], thresholds=[1.0], band="clopper-pearson")
    assert binary.lower == pytest.approx([0.96829521, 0.91249951, 0.80408647, 0.44287212, 0.00083416], abs=1e-6)
    scores = np.r_[np.ones(9200), -np.ones(800)]
    pong = certify_curve(scores, sigma=0.1, budgets=[0, 0.1, 0.2], floor=-1.0, thresholds=[1.0], band="clopper-pearson")
    assert pong.lower == pytest.approx([0.83079295, 0.29215819, -0.46818896], abs=1e-6)


def test_reference_golden():
    returns = 20 * np.modf(np.arange(1, 1001) * (math.sqrt(5) - 1) / 2)[0]
    found = [certify_curve(returns, sigma=1.0, budgets=[0.5], band=band).lower[0] for band in PARTS]
    assert found == pytest.approx([7.23748866, 6.32190646, 6.43123637, 6.50702987, 6.51849716], abs=1e-6)


# A planted suite: threshold policies on one linear score, whose smoothed success probability is Phi in closed form.


def planted(seed: int) -> tuple[float, float, np.ndarray, float]:
    """Success while k . x < t for x = o + delta + xi: clean and attacked probability are Phi of a margin."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=4)
    sigma = float(rng.choice([0.1, 0.3, 1.0]))
    margin = float(rng.uniform(-0.5, 3.5))
    c = float(rng.uniform(0.0, 3.0))
    wins = (rng.normal(size=(400, 4)) @ direction / np.linalg.norm(direction) < margin).astype(float)
    return sigma, c * sigma, wins, float(ndtr(margin - c))


@pytest.mark.parametrize("band", SOUND)
def test_planted_policies_are_certified_below_the_truth(band):
    """240 planted policies; more than 33 certificates above the truth at alpha = .05 have probability below 1e-6 over all four bands."""
    misses = sum(
        certify_curve(wins, sigma=sigma, budgets=[budget], thresholds=[1.0], band=band).lower[0] > truth
        for sigma, budget, wins, truth in map(planted, range(240))
    )
    assert 4 * binom.sf(33, 240, 0.05) < 1e-6
    assert misses <= 33


def test_planted_controls_are_caught():
    """Observed frequencies, and a budget taken a fifth too small, exceed the truth far more often."""
    plugin = shrunk = 0
    for sigma, budget, wins, truth in map(planted, range(240)):
        plugin += certify_curve(wins, sigma=sigma, budgets=[budget], thresholds=[1.0], band="plugin").lower[0] > truth
        shrunk += certify_curve(wins, sigma=sigma, budgets=[0.8 * budget], thresholds=[1.0], band="clopper-pearson").lower[0] > truth
    assert plugin > 60
    assert shrunk > 60


def test_certificate_of_a_linear_policy_equals_the_closed_form():
    """With the exact probability in place of limits the bound is the attacked probability, to 1e-9 relative."""
    for margin in (-1.0, 0.5, 2.5):
        for c in (0.1, 1.0, 3.0):
            assert bound.gaussian_shift(ndtr(margin), c, complement=ndtr(-margin)) == pytest.approx(ndtr(margin - c), rel=1e-9)


LAWS = {
    "uniform": np.full(21, 1 / 21),
    "top": np.r_[np.full(20, 0.1 / 20), 0.9],
    "near-perfect": np.r_[0.001, np.zeros(19), 0.999],
}


def coverage_misses(band: str, law: np.ndarray, c: float, alpha: float, runs: int, seed: int, n: int = 300) -> int:
    """Count certificates above rho_c by the same formula on count tables: 21 atoms, all samples at once."""
    from certify.smoothing.bands import survival_band

    counts = np.random.default_rng(seed).multinomial(n, law, size=runs)
    reached = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1][:, 1:]
    limits = survival_band(np.arange(n + 1), n, alpha=alpha, band=band, thresholds=20)
    kept = bound.gaussian_shift_lower(limits.lower, c, complement=limits.miss)
    return int(np.sum(kept[reached].sum(axis=1) > bound.wang_transform(np.arange(21.0), law, c)))


RUNS, ALPHA = 2000, 0.05
CELLS = [(band, name, c) for band in SOUND for name in LAWS for c in (0.5, 1.5, 3.0)]
REJECT = int(binom.isf(1e-6 / len(CELLS), RUNS, ALPHA))


def test_coverage_has_power_by_design():
    """False alarm at most 1e-6 over all cells together, and a doubled error rate is found in a cell with probability above .99."""
    assert len(CELLS) * binom.sf(REJECT, RUNS, ALPHA) <= 1.1e-6
    assert binom.sf(REJECT, RUNS, 2 * ALPHA) > 0.99


@pytest.mark.parametrize(("band", "name", "c"), CELLS)
def test_coverage(band, name, c):
    assert coverage_misses(band, LAWS[name], c, ALPHA, RUNS, seed=17) <= REJECT


@pytest.mark.parametrize("name", LAWS)
def test_coverage_control_plugin(name):
    assert coverage_misses("plugin", LAWS[name], 1.5, ALPHA, RUNS, seed=17) > REJECT


# Properties


returns_lists = st.lists(st.integers(0, 20).map(float), min_size=1, max_size=40)


@given(returns_lists, st.sampled_from(BANDS), st.data())
def test_a_better_episode_never_lowers_the_bound(returns, band, data):
    i = data.draw(st.integers(0, len(returns) - 1))
    better = [*returns[:i], returns[i] + data.draw(st.floats(0, 5)), *returns[i + 1 :]]
    budgets = [0.0, 0.5, 2.0]
    low = certify_curve(returns, sigma=1.0, budgets=budgets, band=band).lower
    high = certify_curve(better, sigma=1.0, budgets=budgets, band=band).lower
    assert np.all(high >= low - 1e-9)


@given(returns_lists, st.sampled_from(BANDS), st.randoms(use_true_random=False))
def test_order_of_episodes_does_not_matter(returns, band, random):
    shuffled = list(returns)
    random.shuffle(shuffled)
    budgets = [0.0, 1.0]
    assert np.array_equal(
        certify_curve(returns, sigma=1.0, budgets=budgets, band=band).lower, certify_curve(shuffled, sigma=1.0, budgets=budgets, band=band).lower
    )


@given(returns_lists, st.sampled_from(SOUND))
def test_bound_falls_with_budget_and_confidence_and_stays_above_the_floor(returns, band):
    budgets = np.linspace(0, 4, 9)
    strict = certify_curve(returns, sigma=1.0, budgets=budgets, band=band, alpha=0.01).lower
    loose = certify_curve(returns, sigma=1.0, budgets=budgets, band=band, alpha=0.2).lower
    assert np.all(np.diff(strict) <= 1e-12)
    assert np.all(strict <= loose + 1e-12)
    assert strict.min() >= 0.0
    assert loose[0] <= np.mean(returns)


@given(returns_lists, st.sampled_from(BANDS))
def test_recomputed_and_reread_certificates_are_equal(returns, band):
    first = certify_curve(returns, sigma=0.5, budgets=[0.0, 0.3], band=band, thresholds=[2.0, 7.5])
    again = RewardCertificate.from_json(json.loads(json.dumps(first.to_json())))
    assert again.to_json() == first.to_json() == again.recompute().to_json()


def test_no_threshold_reached_gives_the_floor():
    assert certify_curve([1.0, 2.0], sigma=1.0, budgets=[0.0, 1.0], thresholds=[5.0]).lower.tolist() == [0.0, 0.0]
    assert certify_curve([-3.0], sigma=1.0, budgets=[50.0], floor=-4.0).lower[0] == pytest.approx(-4.0, abs=1e-6)


def test_zero_budget_gives_the_confidence_bound_not_the_mean():
    certificate = certify_curve([10.0] * 100, sigma=1.0, budgets=[0.0])
    assert certificate.lower[0] < certificate.clean_mean == 10.0


def test_fields_and_labels():
    certificate = certify_curve([1.0, 2.0, 2.0], sigma=0.5, budgets=[0.0, 0.5], band="plugin")
    assert not certificate.sound
    assert "no certificate" in certificate.assumptions[-1]
    assert certificate.episodes == 3
    assert np.all(np.isinf(certificate.upper))
    record = certify_curve([1.0, 2.0], sigma=0.5, budgets=[0.0]).to_json()
    assert list(record)[:3] == ["schema", "budgets", "lower"]


# Protocols


@pytest.mark.parametrize(
    ("protocol", "factor"),
    [
        ("total", 1.0),
        ("total-norms", 1.0),
        (Protocol(copies=4), 2.0),
        (Protocol(samples=9), 3.0),
        (Protocol(budget="per-step", steps=16), 4.0),
        ({"budget": "total", "copies": 4}, 2.0),
    ],
)
def test_protocols_scale_the_budget(protocol, factor):
    returns = survival_returns()[::50]
    plain = certify_curve(returns, sigma=0.3, budgets=[0.2 * factor]).lower
    assert certify_curve(returns, sigma=0.3, budgets=[0.2], protocol=protocol).lower == pytest.approx(plain, rel=1e-9)


def test_prefix_form_is_between_whole_and_clean():
    returns = np.minimum(np.random.default_rng(0).geometric(0.05, size=500), 50).astype(float)
    whole = certify_curve(returns, sigma=1.0, budgets=[0.1], protocol=Protocol(budget="per-step", steps=50)).lower[0]
    prefix = certify_curve(returns, sigma=1.0, budgets=[0.1], protocol=Protocol(budget="per-step-prefix", steps=50)).lower[0]
    assert whole < prefix < certify_curve(returns, sigma=1.0, budgets=[0.0]).lower[0]


@pytest.mark.parametrize("returns", [np.full(50, -3.0), np.full(50, 0.5), np.full(50, 60.0)])
def test_prefix_form_refuses_returns_that_count_no_steps(returns):
    """For a return of -3, say, it would certify that no attack costs anything: fewer than one step of survival is always reached."""
    with pytest.raises(ValueError, match="count the steps survived"):
        certify_curve(returns, sigma=1.0, budgets=[5.0], floor=-500.0, protocol=Protocol(budget="per-step-prefix", steps=50))
    sampled = Returns(np.full(50, 60.0), env_id="CartPole-v0", max_steps=50)
    with pytest.raises(ValueError, match="from 0 to 50"):
        certify_curve(sampled, sigma=1.0, budgets=[5.0], protocol="per-step-prefix")


def test_rounding_is_charged_for_every_kind_of_budget():
    common = {"rounding": 0.01, "steps": 25, "dimension": 4}
    assert Protocol(**common).shift([0.3, 0.0], 0.5) == pytest.approx([(0.3 + 0.1) / 0.5, 0.0])  # without an attack nothing is rounded differently
    assert Protocol(budget="per-step", **common).shift([0.3], 0.5) == pytest.approx([(5 * 0.3 + 0.1) / 0.5])
    assert Protocol(budget="whitened", **common).shift([0.6], (0.5, 2.0)) == pytest.approx([0.6 + 0.1 / 0.5])
    assert Protocol(budget="per-step-prefix", rounding=0.01, dimension=4).shift([0.3], 0.5) == pytest.approx([(0.3 + 0.02) / 0.5])
    assert Protocol(samples=4, **common).shift([0.3], 0.5) == pytest.approx([2 * (0.3 + 0.1) / 0.5])


def test_grid_noise_charges_for_attacks_between_its_steps():
    returns = Returns(np.full(400, 10.0), env_id="CartPole-v1", sigma=0.5, max_steps=100, noise="grid", grid=2.0**-8, noise_tv=1e-12, engine="numba")
    exact = certify_curve(returns.values, sigma=0.5, budgets=[0.2 + 0.5 / 256 * 20]).lower[0]
    charged = certify_curve(returns, sigma=0.5, budgets=[0.0, 0.2])
    assert charged.lower[1] == pytest.approx(exact, rel=1e-5)
    assert charged.lower[1] <= exact
    assert charged.lower[0] == pytest.approx(certify_curve(returns.values, sigma=0.5, budgets=[0.0]).lower[0], abs=1e-8)
    assert not any("whole steps" in sentence for sentence in charged.assumptions)
    on_grid = certify_curve(returns, sigma=0.5, budgets=[0.2], protocol=Protocol(noise_tv=1e-12))
    assert on_grid.lower[0] > charged.lower[1]
    assert any("whole steps" in sentence for sentence in on_grid.assumptions)
    assert certify_curve(returns, sigma=0.5, budgets=[0.2], protocol="per-step").protocol.steps == 100
    with pytest.raises(ValueError, match="grid and max_steps"):
        certify_curve(Returns([1.0], noise="grid"), sigma=1.0, budgets=[0.0])


def test_rounding_bound_is_needed():
    """One coordinate, one step, sitting just below an edge: a perturbation of nearly nothing moves the input by a whole step."""
    step, p = 0.5, 0.9
    moved = bound.gaussian_shift(p, step)  # x + 1e-9 rounds to the next multiple
    assert moved < bound.gaussian_shift(p, Protocol().shift([1e-9], 1.0)[0])
    assert moved >= bound.gaussian_shift(p, Protocol(rounding=step, steps=1, dimension=1).shift([1e-9], 1.0)[0])


def test_a_program_that_disagrees_costs_its_share_before_the_shift():
    settings = {"sigma": 1.0, "budgets": [1.0], "thresholds": [1.0], "band": "clopper-pearson"}
    same = certify_curve([1.0] * 200, **settings)
    other = certify_curve([1.0] * 200, **settings, protocol=Protocol(disagreement=0.01))
    assert other.lower[0] == pytest.approx(bound.gaussian_shift(same.survival_lower[0] - 0.01, 1.0), rel=1e-9)
    assert any("deployed program earns another return" in sentence for sentence in other.assumptions)
    assert RewardCertificate.from_json(other.to_json()).recompute().lower == other.lower


def test_anisotropic_noise_counts_its_smallest_scale_unless_whitened():
    returns = [1.0] * 50
    both = certify_curve(returns, sigma=[0.5, 2.0], budgets=[0.5]).lower
    assert both == pytest.approx(certify_curve(returns, sigma=0.5, budgets=[0.5]).lower)
    white = certify_curve(returns, sigma=[0.5, 2.0], budgets=[1.0], protocol="whitened").lower
    assert white == pytest.approx(both)


def test_table_noise_is_subtracted_before_and_after():
    exact = certify_curve([1.0] * 200, sigma=1.0, budgets=[1.0], thresholds=[1.0], band="clopper-pearson")
    noisy = certify_curve([1.0] * 200, sigma=1.0, budgets=[1.0], thresholds=[1.0], band="clopper-pearson", protocol=Protocol(noise_tv=0.01))
    p = exact.survival_lower[0]
    assert noisy.lower[0] == pytest.approx(bound.gaussian_shift(p - 0.01, 1.0) - 0.01, rel=1e-9)


def test_provenance_sets_the_protocol_and_cannot_be_weakened():
    returns = Returns(np.ones(50), sigma=0.5, frames=4, protocol="frames-noised-per-copy", average=2, engine="numba")
    certificate = certify_curve(returns, sigma=0.5, budgets=[0.1])
    assert certificate.protocol == Protocol(copies=4, samples=2)
    assert certificate.provenance["frames"] == 4
    with pytest.raises(ValueError, match="protocol copies must be at least 4"):
        certify_curve(returns, sigma=0.5, budgets=[0.1], protocol=Protocol(samples=2))
    with pytest.raises(ValueError, match="sigma must be that of the returns"):
        certify_curve(returns, sigma=0.6, budgets=[0.1])
    with pytest.raises(ValueError, match="noise generator"):
        certify_curve(returns, sigma=0.5, budgets=[2.0])


# Queries


def test_radius_threshold_and_budget():
    assert certified_radius(0.9, 0.5, sigma=2.0) == pytest.approx(2.563103131, rel=1e-9)
    assert certified_radius(0.9, 0.5, sigma=1.0) <= bound.success_radius(0.9, 0.5)
    assert certified_radius(1.0, 0.5, sigma=1.0) == math.inf
    assert certified_radius(0.3, 0.5, sigma=1.0) < 0
    for wrong in (1.2, -0.1, math.nan, "high"):
        with pytest.raises(ValueError, match="p_lower must"):
            certified_radius(wrong, 0.5, sigma=1.0)
    certificate = certify_curve([5.0] * 100 + [10.0] * 900, sigma=1.0, budgets=[0.0])
    assert certified_threshold(certificate, 0.5, budget=0.5) == 10.0
    assert certified_threshold(certificate, 0.9, budget=0.5) == 5.0
    assert certified_threshold(certificate, 0.9, budget=9.0) == 0.0
    assert certified_budget(certificate, 11.0) is None
    assert certified_budget(certificate, 0.0) == math.inf
    largest = certified_budget(certificate, 6.0)
    assert certificate.evaluate([largest])[0] >= 6.0 > certificate.evaluate([largest * (1 + 1e-9)])[0]


def test_saving_is_all_or_nothing(tmp_path):
    certificate = certify_curve([1.0], sigma=1.0, budgets=[0.0])
    certificate.save(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["lower"] == certificate.lower.tolist()
    with pytest.raises(OSError):
        certificate.save(tmp_path / "missing" / "a.json")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def sampled(values, **provenance):
    facts = {"sigma": 0.2, "engine": "numba", "env_id": "CartPole-v1", "seed": 0, "max_steps": 500, "floor": 1.0, **provenance}
    return Returns(values, **facts)


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        certify_curve([1.0], sigma=1.0, budgets=[0.0]).save(pipe)
        assert json.loads(os.read(reader, 1 << 16))["budgets"] == [0.0]
        assert stat.S_ISFIFO(pipe.stat().st_mode)
    finally:
        os.close(reader)


def test_no_budget_beyond_the_range_of_the_noise_is_certified():
    certificate = certify_curve(sampled([500.0] * 1000), sigma=0.2, budgets=[0.0, 1.0])
    assert certificate.evaluate(1.35)[0] > 1e-3
    for question in (lambda: certificate.evaluate([0.0, 1.4]), lambda: certified_threshold(certificate, 1e-9, budget=1.4)):
        with pytest.raises(ValueError, match="noise generator draws nothing"):
            question()
    assert certified_budget(certificate, 1e-9) == pytest.approx(6.7637 * 0.2, rel=1e-4)
    assert certified_budget(certify_curve([500.0] * 1000, sigma=0.2, budgets=[0.0]), 1e-9) > 1.4


def test_a_return_that_no_budget_lowers_has_no_largest_budget():
    frequencies = certify_curve([10.0] * 100, sigma=1.0, budgets=[0.0], band="plugin")
    assert certified_budget(frequencies, 5.0) == math.inf
    prefix = certify_curve([10.0] * 100, sigma=1.0, budgets=[0.0], thresholds=[1.0, 10.0], protocol="per-step-prefix")
    assert certified_budget(prefix, 0.5) == math.inf
    assert 0.0 < certified_budget(prefix, 5.0) < math.inf


def test_a_certificate_says_what_it_assumes_beyond_the_environment():
    assert any("environment alone guarantees 1 only" in s for s in certify_curve(sampled([9.0]), sigma=0.2, budgets=[0.0], floor=8.0).assumptions)
    assert not any("alone" in s for s in certify_curve(sampled([9.0]), sigma=0.2, budgets=[0.0], floor=1.0).assumptions)
    fixed = "The thresholds were fixed before the data."
    assert fixed in certify_curve([9.0], sigma=0.2, budgets=[0.0], thresholds=[5.0]).assumptions
    assert fixed not in certify_curve([9.0], sigma=0.2, budgets=[0.0]).assumptions


@pytest.mark.parametrize("change", [{"sigma": 0.4}, {"budgets": [0.0, 2.0]}])
def test_settings_that_contradict_the_provenance_do_not_recompute(change):
    record = {**certify_curve(sampled([9.0, 10.0]), sigma=0.2, budgets=[0.0, 1.0]).to_json(), **change}
    with pytest.raises(ValueError, match="sigma must be that of the returns|noise generator draws nothing"):
        RewardCertificate.from_json(record).recompute()


GOOD = {"returns": [1.0, 2.0], "sigma": 1.0, "budgets": [0.0, 1.0]}
BAD = [
    ({"sigma": 0.0}, "sigma must be > 0, got 0.0"),
    ({"sigma": -1.0}, "sigma must be > 0"),
    ({"sigma": math.nan}, "sigma must be finite"),
    ({"sigma": "wide"}, "sigma must hold numbers"),
    ({"returns": []}, "returns must be a non-empty vector"),
    ({"returns": [1.0, math.nan]}, "returns must be finite, got nan at position 1"),
    ({"returns": [math.inf]}, "returns must be finite"),
    ({"returns": [[1.0]]}, "returns must be a non-empty vector"),
    ({"budgets": [-0.1]}, "budgets must be finite and at least 0, got -0.1"),
    ({"budgets": [math.inf]}, "budgets must be finite"),
    ({"budgets": []}, "budgets must be a non-empty vector"),
    ({"alpha": 0.0}, r"alpha must be in \(0, 1\), got 0.0"),
    ({"alpha": 1.0}, "alpha must be in"),
    ({"alpha": math.nan}, "alpha must be in"),
    ({"alpha": 0.6, "band": "dkw-one-sided"}, "one-sided"),
    ({"floor": 1.5}, r"floor must not be above an observed return \(1\), got 1.5"),
    ({"floor": math.nan}, "floor must be a finite number"),
    ({"floor": "low"}, "floor must be a number"),
    ({"floor": -1e308, "returns": [1e308]}, "returns must add up to a finite number above floor"),
    ({"returns": [1e308] * 3}, "returns must add up to a finite number"),
    ({"thresholds": [2.0, 1.0]}, "thresholds must be sorted in increasing order, got 2.0 before 1.0"),
    ({"thresholds": []}, "thresholds must be a non-empty vector"),
    ({"thresholds": [-1.0]}, "thresholds must be at least floor = 0"),
    ({"band": "hoeffding"}, "band must be one of"),
    ({"protocol": "weekly"}, "protocol must be one of"),
    ({"protocol": 3}, "protocol must be one of"),
    ({"protocol": {"speed": 3}}, "protocol must have the fields"),
    ({"protocol": "per-step"}, "protocol steps must be given"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_named(change, message):
    arguments = {**GOOD, **change}
    with pytest.raises(ValueError, match=message):
        certify_curve(arguments.pop("returns"), **arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"copies": 0}, "protocol copies must be an integer >= 1"),
        ({"steps": 0}, "protocol steps must be an integer >= 1"),
        ({"noise_tv": 2.0}, "protocol noise_tv must be in"),
        ({"rounding": 0.1}, "steps and dimension must be given"),
        ({"rounding": 0.1, "budget": "per-step-prefix"}, "steps and dimension must be given"),
        ({"disagreement": -0.1}, "protocol disagreement must be in"),
    ],
)
def test_bad_protocols_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Protocol(**change)
    assert as_protocol(None) == Protocol()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other/1"}, "schema"),
        ({"returns": None}, "returns must"),
        ({"alpha": "much"}, "alpha must be a number"),
        ({"band": "hoeffding"}, "band must be one of"),
        ({"provenance": 3}, "provenance must be an object"),
        ({"lower": ["x"]}, "lower must hold numbers"),
        ({"lower": [1.0, 1.0]}, "lower must be as many as budgets, 1, got 2"),
        ({"survival_lower": [0.5, 0.5]}, "survival_lower must be as many as thresholds"),
        ({"sound": "yes"}, "sound must be true or false"),
        ({"observed_thresholds": 0}, "observed_thresholds must be true or false"),
    ],
)
def test_bad_records_are_named(change, message):
    record = {**certify_curve([1.0], sigma=1.0, budgets=[0.0]).to_json(), **change}
    with pytest.raises(ValueError, match=message):
        RewardCertificate.from_json(record)


def test_records_with_holes_are_refused():
    record = certify_curve([1.0], sigma=1.0, budgets=[0.0]).to_json()
    for name in ("lower", "returns", "protocol", "alpha"):
        with pytest.raises(ValueError, match=f"field '{name}'"):
            RewardCertificate.from_json({k: v for k, v in record.items() if k != name})
    with pytest.raises(ValueError, match="schema"):
        RewardCertificate.from_json([])
    with pytest.raises(ValueError, match="target"):
        certified_budget(certify_curve([1.0], sigma=1.0, budgets=[0.0]), math.nan)
