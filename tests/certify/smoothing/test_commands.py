"""The verbs of reward certificates, from the command line in: certificates, their verification, and every kind of bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest

from certify.smoothing.commands import parse_budgets, parse_sigma, parse_until
from verify.cli import main

REWARD = ["certify", "reward", "--policy", "default", "--env", "CartPole-v1", "--sigma", "0.2", "--episodes", "60"]


@pytest.fixture
def lemmata(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return call


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0:1:0.25", [0, 0.25, 0.5, 0.75, 1]), ("0:1:0.05", [round(0.05 * i, 12) for i in range(21)]), ("0.1", [0.1]), ("0,0.3", [0, 0.3]), ("0:0.1:0.03", [0, 0.03, 0.06, 0.09])],
)
def test_budgets_are_read(text, expected):
    assert parse_budgets(text) == expected


@pytest.mark.parametrize("text", ["", "a", "0:1", "1:0:0.1", "0:1:0", "-1:1:0.5", "-0.1", "nan", "inf", "0:inf:1", "0:1:1e-9"])
def test_bad_budgets_are_refused(text):
    with pytest.raises(ValueError, match="budgets"):
        parse_budgets(text)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "a", "0.1,0", "inf"])
def test_bad_noise_is_refused(text):
    with pytest.raises(ValueError, match="sigma"):
        parse_sigma(text)


def test_until_is_read():
    assert parse_until("150@0.2") == (150.0, 0.2)
    for text in ("150", "150@-1", "a@b", "inf@0.1"):
        with pytest.raises(ValueError, match="until"):
            parse_until(text)


def test_a_certificate_is_written_drawn_and_verified(lemmata, tmp_path):
    status, out, _ = lemmata(*REWARD, "--budgets", "0:0.4:0.2", "--out", "cert.json", "--plot", "cert.png", "--page", "cert.html")
    assert status == 0
    assert "certified mean return" in out
    record = json.loads((tmp_path / "cert.json").read_text())
    assert record["budgets"] == [0.0, 0.2, 0.4]
    assert len(record["lower"]) == 3
    assert np.all(np.diff(record["lower"]) <= 0)
    assert (tmp_path / "cert.png").stat().st_size > 5000
    assert "<html" in (tmp_path / "cert.html").read_text()
    status, out, _ = lemmata("certify", "verify", "cert.json", "--episodes", "20", "--json")
    facts = json.loads(out)
    assert status == 0
    assert facts["recomputed"] == "equal"
    assert facts["resampled"] == "equal"
    record["lower"][0] += 1.0
    (tmp_path / "cert.json").write_text(json.dumps(record))
    assert lemmata("certify", "verify", "cert.json", "--episodes", "0")[0] == 1
    record["lower"][0] -= 1.0
    record["returns"][0] -= 1.0
    (tmp_path / "cert.json").write_text(json.dumps(record))
    assert lemmata("certify", "verify", "cert.json", "--episodes", "20")[0] == 1


def test_the_same_seed_gives_the_same_certificate(lemmata, tmp_path):
    for name in ("a.json", "b.json"):
        assert lemmata(*REWARD, "--out", name, "--json")[0] == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_sampling_stops_when_the_target_is_reached(lemmata):
    status, out, _ = lemmata(*REWARD[:-2], "--episodes", "600", "--until", "50@0.1", "--json")
    facts = json.loads(out)
    assert status == 0
    assert facts["reached"]
    assert facts["lower"] >= 50
    status, out, _ = lemmata(*REWARD[:-2], "--episodes", "60", "--until", "499@0.5", "--json")
    assert status == 3
    assert not json.loads(out)["reached"]


def test_stopping_early_uses_the_budget_and_the_noise_as_sampled(lemmata, tmp_path):
    until = [*REWARD[:-2], "--max-steps", "60", "--episodes", "2000", "--json", "--until"]
    total = json.loads(lemmata(*until, "30@0.3")[1])
    same = json.loads(lemmata(*until, f"30@{0.3 / 60**0.5}", "--budget-kind", "per-step")[1])
    assert (same["episodes"], same["lower"]) == (total["episodes"], pytest.approx(total["lower"], rel=1e-9))
    assert any("grid" in sentence for sentence in json.loads(lemmata(*until, "30@0.3", "--noise", "grid")[1])["assumptions"])
    stored = json.loads(lemmata(*until, "30@0.3", "--store", "s.db")[1])
    assert stored == total
    assert (tmp_path / "s.db").exists()
    for changes, message in (
        (["--budget-kind", "per-step-prefix"], "per-step-prefix"), (["--page", "p.html"], "--page"), (["--store", "s.db"], "--resume"), (["--resume"], "--store"),
    ):  # fmt: skip
        status, _, err = lemmata(*until, "30@0.3", *changes)
        assert status == 2
        assert message in err
    status, _, err = lemmata(*until, "30@1.6")
    assert status == 2
    assert "noise generator" in err


def test_a_plan_needs_no_sampling(lemmata):
    status, out, _ = lemmata("certify", "plan", "--sigma", "0.2", "--budget", "0.4", "--target", "150", "--ceiling", "200", "--json")
    facts = json.loads(out)
    assert status == 0
    assert facts["enough"] == 800
    assert lemmata("certify", "plan", "--sigma", "0.2", "--budget", "0.4", "--target", "150")[0] == 0


BAD = [
    pytest.param({"--sigma": "0"}, "sigma must be positive", id="sigma zero"),
    pytest.param({"--sigma": "0.1,0.2"}, "sigma", id="sigma of the wrong length"),
    pytest.param({"--budgets": "1:0:0.1"}, "budgets must be", id="budgets"),
    pytest.param({"--alpha": "1.5"}, "alpha must be in (0, 1)", id="alpha"),
    pytest.param({"--band": "hoeffding"}, "band must be one of", id="band"),
    pytest.param({"--env": "CartPole-v9"}, "CartPole-v9", id="environment"),
    pytest.param({"--env": "Acrobot-v1"}, "4", id="policy does not fit"),
    pytest.param({"--policy": "nowhere.zip"}, "nowhere.zip", id="no policy"),
    pytest.param({"--floor": "400"}, "floor", id="floor above a return"),
    pytest.param({"--frames": "3"}, "frames", id="frames do not fit"),
    pytest.param({"--out": "missing/cert.json"}, "out must be in an existing folder", id="no folder"),
    pytest.param({"--plot": "cert.txt"}, "plot must end in", id="plot format"),
    pytest.param({"--noised": "twice"}, "noised must be", id="noised"),
    pytest.param({"--noise": "laplace"}, "noise must be one of", id="noise"),
    pytest.param({"--engine": "jax"}, "engine must be one of", id="engine"),
    pytest.param({"--until": "150"}, "until must be", id="until"),
    pytest.param({"--budget-kind": "l7"}, "budget", id="budget kind"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_input_is_one_line_status_two_and_leaves_nothing(lemmata, tmp_path, changes, message):
    options = dict(zip(REWARD[2::2], REWARD[3::2], strict=True)) | {"--episodes": "20", "--out": "cert.json"} | changes
    status, _, err = lemmata("certify", "reward", *[part for pair in options.items() for part in pair])
    error = [line for line in err.splitlines() if line.startswith("error: ")]
    assert status == 2
    assert len(error) == 1
    assert message in error[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "lemmata.reward-certificate/1"}'])
def test_a_broken_certificate_is_refused(lemmata, tmp_path, text):
    (tmp_path / "cert.json").write_text(text)
    status, _, err = lemmata("certify", "verify", "cert.json")
    assert status == 2
    assert "certificate must" in err


def test_a_store_is_continued_only_when_asked_and_gives_the_same_certificate(lemmata, tmp_path):
    plain = lemmata(*REWARD, "--out", "plain.json")
    assert plain[0] == 0
    assert lemmata(*REWARD, "--store", "returns.db", "--out", "stored.json")[0] == 0
    status, _, err = lemmata(*REWARD, "--store", "returns.db")
    assert status == 2
    assert "--resume" in err
    assert lemmata(*REWARD, "--store", "returns.db", "--resume", "--out", "again.json")[0] == 0
    assert (tmp_path / "stored.json").read_bytes() == (tmp_path / "again.json").read_bytes() == (tmp_path / "plain.json").read_bytes()
    status, _, err = lemmata(*REWARD, "--seed", "1", "--store", "returns.db", "--resume")
    assert status == 2
    assert "seed" in err


def test_an_attack_stands_beside_a_certificate(lemmata):
    assert lemmata(*REWARD, "--budgets", "0.3", "--out", "cert.json")[0] == 0
    options = ["--policy", "default", "--env", "CartPole-v1", "--sigma", "0.2", "--budget", "0.3", "--episodes", "100", "--generations", "1", "--certificate", "cert.json", "--json"]
    status, out, _ = lemmata("certify", "attack", *options)
    facts = json.loads(out)
    assert status == 0
    assert facts["certified_lower"] <= facts["upper"]
    for name, value in (("--sigma", "0.3"), ("--env", "CartPole-v0")):
        changed = [*options, name, value]
        status, _, err = lemmata("certify", "attack", *changed)
        assert status == 2
        assert "certificate must be for" in err
