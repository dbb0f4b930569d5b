"""Fixed points against closed forms and an independent quadrature, algorithms against fixed points, the size and power of the test."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.martingale import evaluate, fixed_point, load_paths, save_paths, test_critic
from mdps.diffusions import BrownianMotion, OrnsteinUhlenbeck, Paths, Polynomial, variables
from theory.martingale_td import brownian_fixed_points, lstd_asymptotic_covariance, ou_td_coefficients
from verify.cli import main

T, X = variables()
PHI = [(1 - T) * X**2]
MODEL = OrnsteinUhlenbeck(1.0, 0.7, 0.5)


def right_critic(time, state):
    return MODEL.value(0.0, state[:, :, 0])


def wrong_critic(time, state):
    return right_critic(time, state) + 0.37 * (1 - time) * np.sin(2 * state[:, :, 0])


@pytest.mark.parametrize("steps", [2, 5, 64, None])
@pytest.mark.parametrize("method", ["mstde", "martingale-loss", "td0"])
def test_brownian_fixed_points_are_the_rationals_of_the_theory(steps, method):
    assert fixed_point(BrownianMotion(terminal=X**4), PHI, method=method, steps=steps).exact == (brownian_fixed_points(steps)[method],)


def test_limits_of_the_trace():
    model = BrownianMotion(terminal=X**4)
    expected = {1.0: 7.5, 0.5: 7.584801, 0.1: 7.764268, 0.01: 7.973008, 1e-4: 8.250256, 1e-8: 8.521115}
    for trace, value in expected.items():
        assert fixed_point(model, PHI, method="td-lambda", trace=trace).theta[0] == pytest.approx(value, abs=1e-6)


@settings(max_examples=20)
@given(st.floats(0.2, 3), st.floats(0.1, 1.5), st.floats(0.1, 1.5), st.sampled_from([1, 3, 20]), st.sampled_from(["left", "trapezoid"]))
def test_the_ou_fixed_point_is_its_closed_form(kappa, sigma, discount, steps, rule):
    found = fixed_point(OrnsteinUhlenbeck(kappa, sigma, discount), [X**2, X**0], method="td0", steps=steps, reward_rule=rule).theta
    assert found == pytest.approx(np.array(ou_td_coefficients(1 / steps, kappa, sigma, discount, rule=rule)), rel=1e-8, abs=1e-9)


@settings(max_examples=15)
@given(st.floats(-3, 3), st.floats(0, 1), st.sampled_from([3, 6]), st.sampled_from([0.3, 1.0]))
def test_a_realisable_family_without_running_reward_has_no_bias_on_any_grid(start, discount, steps, trace):
    model = BrownianMotion(terminal=X**2, start=start, discount=0)
    truth = model.value_polynomial()
    phi, psi = [truth - X**2, (1 - T) * (X**2 + 1)], X**2
    for method in ("td0", "martingale-loss", "td-lambda", "mstde"):
        extra = {"trace": trace} if method == "td-lambda" else {}
        found = fixed_point(model, phi, method=method, steps=steps, offset=psi, **extra).theta
        if method != "mstde":
            assert found == pytest.approx([1.0, 0.0], abs=1e-7)


def test_collinear_features_report_their_rank():
    with pytest.raises(ValueError, match="rank 1 of 2"):
        fixed_point(BrownianMotion(terminal=X**4), [PHI[0], 2 * PHI[0]], method="td0", steps=4)
    with pytest.raises(ValueError, match="rank"):
        fixed_point(BrownianMotion(terminal=X**4), PHI, method="td0", steps=1)


BAD = [
    ({"method": "sarsa"}, "method"),
    ({"method": "td0", "reward_rule": "right"}, "reward_rule"),
    ({"method": "gtd", "weight": "none"}, "weight"),
    ({"method": "td-lambda"}, "trace"),
    ({"method": "td-lambda", "trace": -0.1}, "trace"),
    ({"method": "td0", "features": [lambda t, x: x]}, "polynomials"),
    ({"method": "gtd", "tests": []}, "tests"),
    ({"method": "td-lambda", "trace": 1.5}, "trace"),
    ({"method": "td0", "steps": 0}, "steps"),
    ({"method": "td0", "offset": X**3}, "offset"),
    ({"method": "td0", "features": [X**2]}, "vanish"),
    ({"method": "td0", "features": []}, "features"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_fixed_points_are_refused(arguments, message):
    given_features = arguments.get("features", PHI)
    rest = {k: v for k, v in arguments.items() if k != "features"}
    with pytest.raises(ValueError, match=message):
        fixed_point(BrownianMotion(terminal=X**4), given_features, **rest)


def test_the_loss_needs_a_horizon():
    with pytest.raises(ValueError, match="horizon"):
        fixed_point(MODEL, [X**2], method="martingale-loss")


def test_clstd_converges_to_its_fixed_point():
    paths = MODEL.sample(paths=40_000, steps=20, duration=2.0, seed=5)
    found = evaluate(paths, [X**2, X**0], method="clstd", discount=0.5)
    exact = fixed_point(MODEL, [X**2, X**0], method="lstd", steps=10, reward_rule="trapezoid").theta
    spread = np.sqrt(np.diag(lstd_asymptotic_covariance(1.0, 0.7, 0.5)) / (40_000 * 2.0))
    assert np.all(np.abs(found.theta - exact) < 5 * spread)
    assert found.rank == 2
    assert evaluate(paths, [X**2, X**0], method="clstd", discount=0.5, jobs=1).theta.tolist() == found.theta.tolist()


def test_clstd_is_the_plain_sum_over_paths():
    paths = BrownianMotion(reward=X, terminal=X**2).sample(paths=5, steps=4, seed=1)
    a, b = 0.0, 0.0
    for p in range(5):
        for i in range(4):
            t, x, y = paths.time[i], paths.state[p, i, 0], paths.state[p, i + 1, 0]
            phi, later = (1 - t) * x**2, (1 - paths.time[i + 1]) * y**2
            jump = paths.terminal[p] if i == 3 else 0.0
            a += phi * (phi - later)
            b += phi * (0.25 * 0.5 * (x + y) + jump)
    assert evaluate(paths, PHI, method="clstd").theta[0] == pytest.approx(b / a, rel=1e-12)


@pytest.mark.parametrize(
    ("method", "exact", "extra"),
    [
        ("ctd0", "td0", {}),
        ("ctd0", "td0", {"online": True}),
        ("ctd-lambda", "td-lambda", {"trace": 0.2}),
        ("martingale-loss", "martingale-loss", {}),
        ("cgtd2", "gtd", {"second_step": 0.5}),
        ("tdc", "td0", {"second_step": 0.5}),
        ("cgtd", "gtd", {"second_step": 0.05, "initial": [4 / 3]}),
    ],
)
def test_stochastic_methods_settle_at_their_fixed_points(method, exact, extra):
    model = BrownianMotion(reward=X**2)
    paths = model.sample(paths=20_000, steps=8, seed=11)
    size = 0.02 if method == "cgtd" else 2.0  # two slow time scales: it is only asked to stay where it belongs
    fitted = evaluate(paths, PHI, method=method, step=lambda k: size / (1 + k / 200) ** 0.9, reward_rule="left", **extra)
    end = fixed_point(model, PHI, method=exact, steps=8, **({"trace": extra["trace"]} if "trace" in extra else {})).theta[0]
    assert fitted.history[10_000:].mean() == pytest.approx(end, abs=0.15)


BAD_EVALUATION = [
    ({"method": "q-learning"}, "method"),
    ({"method": "ctd0"}, "step"),
    ({"method": "ctd0", "step": -1.0}, "step"),
    ({"method": "ctd0", "step": 1e60}, "diverged"),
    ({"method": "ctd-lambda", "step": 0.1}, "trace"),
    ({"method": "clstd", "discount": -1.0}, "discount"),
    ({"method": "clstd", "reward_rule": "right"}, "reward_rule"),
    ({"method": "tdc", "step": 0.1, "online": True}, "online"),
    ({"method": "ctd0", "step": 0.1, "initial": [1.0, 2.0]}, "initial"),
    ({"method": "ctd0", "step": 0.1, "epochs": 0}, "epochs"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_EVALUATION)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_evaluations_are_refused(arguments, message):
    paths = BrownianMotion(reward=X**2).sample(paths=50, steps=4, seed=0)
    with pytest.raises(ValueError, match=message):
        evaluate(paths, PHI, **arguments)


def test_features_of_the_wrong_shape_or_not_finite_are_refused():
    paths = BrownianMotion(reward=X**2).sample(paths=5, steps=4, seed=0)
    with pytest.raises(ValueError, match="shape"):
        evaluate(paths, lambda t, x: x[:, 0], method="clstd")
    with pytest.raises(ValueError, match="finite"):
        evaluate(paths, lambda t, x: x * np.nan, method="clstd")


@pytest.mark.parametrize("method", ["asymptotic", "mixture"])
def test_the_right_critic_passes_and_the_wrong_one_does_not(method):
    paths = MODEL.sample(paths=3000, steps=100, duration=1.0, seed=1)
    extra = {"volatility": 0.7, "scale": 100.0} if method == "mixture" else {}
    options = {"tests": lambda t, x: np.stack([np.sin(2 * x[:, :, 0]), x[:, :, 0]], axis=2), "discount": 0.5, "method": method, **extra}
    assert test_critic(paths, right_critic, **options).verdict == "not rejected"
    wrong = test_critic(paths, wrong_critic, **options)
    assert wrong.verdict == "rejected"
    assert abs(wrong.statistics[0]) > 20


def test_the_left_rule_is_caught_as_a_cause_of_rejection_and_the_trapezoid_cures_it():
    paths = MODEL.sample(paths=60_000, steps=10, duration=1.0, seed=2)
    left = test_critic(paths, right_critic, tests=[1 - T], discount=0.5, reward_rule="left")
    assert left.rejected
    assert left.verdict == "inconclusive"
    assert any("trapezoid" in w for w in left.warnings)
    assert test_critic(paths, right_critic, tests=[1 - T], discount=0.5).verdict == "not rejected"


def test_a_shift_that_is_a_martingale_fails_at_the_terminal_time():
    model = BrownianMotion(terminal=X**2)
    paths = model.sample(paths=500, steps=10, seed=0)
    shifted = test_critic(paths, lambda t, x: model.value(t[None, :], x[:, :, 0]) + 0.1, tests=[X**0])
    assert shifted.verdict == "rejected"
    assert "terminal reward" in shifted.warnings[0]


def test_skewed_sums_are_not_trusted():
    paths = MODEL.sample(paths=100, steps=20, duration=1.0, seed=3)
    found = test_critic(paths, right_critic, tests=[X**4], discount=0.5)
    assert any("skewed" in w for w in found.warnings)


def test_the_mixture_test_keeps_its_level_with_few_paths():
    rejections = 0
    paths = MODEL.sample(paths=400 * 10, steps=50, duration=1.0, seed=9)
    for i in range(0, 4000, 10):
        part = Paths(paths.time, paths.state[i : i + 10], paths.reward[i : i + 10])
        options = {"tests": [X**2, X**0], "discount": 0.5, "alpha": 0.05, "method": "mixture", "volatility": 0.7, "scale": 1.0}
        rejections += test_critic(part, right_critic, **options).rejected
    assert rejections <= 32  # at level 0.05: 20 expected at most, 33 or more with probability 0.4 %


BAD_TESTS = [
    ({"alpha": 0.0}, "alpha"),
    ({"tests": []}, "tests"),
    ({"method": "bootstrap"}, "method"),
    ({"method": "mixture"}, "volatility"),
    ({"discount": -0.1}, "discount"),
    ({"scale": 0.0}, "scale"),
    ({"critic": lambda t, x: np.zeros(3)}, "shape"),
    ({"critic": lambda t, x: x[:, :, 0] * np.nan}, "finite"),
    ({"method": "mixture", "volatility": 1.0, "gradient": lambda t, x: x[:, 0]}, "gradient"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_TESTS)
def test_bad_tests_are_refused(arguments, message):
    paths = MODEL.sample(paths=5, steps=4, duration=1.0, seed=0)
    options = {"tests": [X**0], "discount": 0.5, **arguments}
    critic = options.pop("critic", right_critic)
    with pytest.raises(ValueError, match=message):
        test_critic(paths, critic, **options)


def test_a_torch_critic_is_taken_as_it_is():
    torch = pytest.importorskip("torch", reason="needs the extra [torch]")

    class Critic(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Parameter(torch.tensor(0.4, dtype=torch.float64))

        def forward(self, rows):
            return self.a * rows[:, 1] ** 2 + 0.392

    paths = MODEL.sample(paths=500, steps=20, duration=1.0, seed=1)
    found, same = (test_critic(paths, critic, tests=[X, 1 - T], discount=0.5) for critic in (Critic(), right_critic))
    assert found.statistics == pytest.approx(same.statistics, abs=1e-9)


def test_paths_survive_their_file(tmp_path):
    paths = BrownianMotion(terminal=X**2).sample(paths=3, steps=2, seed=0)
    save_paths(tmp_path / "paths.npz", paths)
    back = load_paths(tmp_path / "paths.npz")
    assert np.array_equal(back.state, paths.state)
    assert np.array_equal(back.terminal, paths.terminal)
    for text in (b"", b"not a zip"):
        (tmp_path / "broken.npz").write_bytes(text)
        with pytest.raises(ValueError, match="npz"):
            load_paths(tmp_path / "broken.npz")
    np.savez(tmp_path / "other.npz", time=[0.0, 1.0])
    with pytest.raises(ValueError, match="members"):
        load_paths(tmp_path / "other.npz")


CRITICS = '''
import numpy as np
def right(time, state): return 0.4 * state[:, :, 0] ** 2 + 0.392
def wrong(time, state): return 0.8 * state[:, :, 0] ** 2
'''


@pytest.mark.parametrize(
    ("critic", "status", "word"),
    [("critics_of_this_test:right", 0, "not rejected"), ("critics_of_this_test:wrong", 1, "rejected"), ("critics_of_this_test:none", 2, ""), ("nothing", 2, "")],
)
def test_the_command_judges_a_critic(tmp_path, monkeypatch, capsys, critic, status, word):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "critics_of_this_test.py").write_text(CRITICS)
    save_paths(tmp_path / "paths.npz", MODEL.sample(paths=1000, steps=20, duration=1.0, seed=1))
    with pytest.raises(SystemExit) as stop:
        main(["certify", "critic", "--paths", "paths.npz", "--critic", critic, "--discount", "0.5", "--plot", "z.png", "--tests", "0,1 1,0"])
    captured = capsys.readouterr()
    assert (stop.value.code or 0) == status
    assert word in captured.out
    if status == 2:
        assert captured.err.startswith("error: critic must be")
        assert not (tmp_path / "z.png").exists()


def test_polynomials_in_fixed_points_may_have_any_number_type():
    exact = fixed_point(BrownianMotion(terminal=X**4), PHI, method="td0", steps=4)
    floats = fixed_point(BrownianMotion(terminal=Polynomial({(0, 4): 1.0}), horizon=1.0), [(1.0 - T) * X**2], method="td0", steps=4)
    assert exact.exact is not None
    assert floats.exact is None
    assert floats.theta[0] == pytest.approx(float(exact.exact[0]), rel=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--paths", "none.npz"], "none.npz"),
        (["--paths", "text.npz"], "npz"),
        (["--paths", "nan.npz"], "finite"),
        (["--tests", "0"], "tests"),
        (["--tests", "0,-1"], "tests"),
        (["--tests", ""], "tests"),
        (["--alpha", "1.5"], "alpha"),
        (["--discount", "nan"], "discount"),
        (["--reward-rule", "right"], "reward_rule"),
        (["--volatility", "-1"], "volatility"),
        (["--volatility", "1", "--scale", "0"], "scale"),
        (["--critic", "critics_of_bad_input:broken"], "critic"),
        (["--critic", "critics_of_bad_input:dividing"], "critic"),
        (["--critic", "critics_of_bad_input:number"], "critic"),
        (["--critic", "critic_with_a_typo:right"], "critic"),
        (["--paths", "object.npz"], "paths"),
        (["--plot", "missing/z.png"], "plot"),
    ],
)
def test_the_command_refuses_bad_input_in_one_line(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "critics_of_bad_input.py").write_text(
        "def right(t, x): return 0.4 * x**2 + 0.392\ndef broken(t, x): return x[0, 0, 0, 0]\n"
        "def dividing(t, x): return 1 / 0\nnumber = 3\n"
    )
    (tmp_path / "critic_with_a_typo.py").write_text("def right(t, x: return 0\n")
    np.savez(tmp_path / "object.npz", time=np.array([{}], dtype=object), state=[[0.0]], reward=[[0.0]])
    save_paths(tmp_path / "paths.npz", MODEL.sample(paths=20, steps=4, duration=1.0, seed=1))
    (tmp_path / "text.npz").write_text("x")
    np.savez(tmp_path / "nan.npz", time=[0.0, 1.0], state=[[0.0, np.nan]], reward=[[0.0, 0.0]])
    given = {"--paths": "paths.npz", "--critic": "critics_of_bad_input:right", "--discount": "0.5"} | dict(zip(options[::2], options[1::2], strict=True))
    with pytest.raises(SystemExit) as stop:
        main(["certify", "critic", *(word for pair in given.items() for word in pair)])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in error
    assert error.strip().count("\n") == 0


def test_the_command_runs_the_test_for_any_number_of_paths(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "critics_of_any_number.py").write_text("def wrong(t, x): return 0.8 * x**2 + 0.9\n")
    save_paths(tmp_path / "paths.npz", MODEL.sample(paths=1000, steps=100, duration=1.0, seed=1))
    with pytest.raises(SystemExit) as stop:
        main(["certify", "critic", "--paths", "paths.npz", "--critic", "critics_of_any_number:wrong", "--discount", "0.5", "--volatility", "0.7", "--scale", "100",
              "--tests", "0,0", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert stop.value.code == 1
    assert (facts["method"], facts["verdict"]) == ("mixture", "rejected")


@pytest.mark.filterwarnings("ignore:`torch.jit.load`:DeprecationWarning")
def test_a_file_that_is_no_torchscript_is_refused(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch", reason="needs the extra [torch]")
    monkeypatch.chdir(tmp_path)
    save_paths(tmp_path / "paths.npz", MODEL.sample(paths=5, steps=4, duration=1.0, seed=1))
    (tmp_path / "critic.pt").write_text("nothing")
    with pytest.raises(SystemExit) as stop:
        main(["certify", "critic", "--paths", "paths.npz", "--critic", "critic.pt", "--trust"])
    assert stop.value.code == 2
    assert "TorchScript" in capsys.readouterr().err


def test_the_origin_of_time_does_not_matter_to_features_of_the_state():
    paths = MODEL.sample(paths=40, steps=20, duration=1.0, seed=3)
    moved = Paths(paths.time + 5.0, paths.state, paths.reward)
    for method in ("clstd", "ctd0"):
        options = {"method": method, "discount": 0.5, "discounted": True, **({} if method == "clstd" else {"step": 0.2})}
        assert evaluate(moved, [X**2, X**0], **options).theta == pytest.approx(evaluate(paths, [X**2, X**0], **options).theta, rel=1e-9)


@pytest.mark.parametrize("trace", [0.05, 0.3])
def test_fixed_points_with_a_trace_on_a_grid_tend_to_the_limit(trace):
    model = BrownianMotion(terminal=X**4)
    limit = fixed_point(model, PHI, method="td-lambda", trace=trace).theta[0]
    rough, fine = (abs(fixed_point(model, PHI, method="td-lambda", trace=trace, steps=n).theta[0] - limit) for n in (40, 160))
    assert fine < 0.35 * rough
    assert fine < 0.05
