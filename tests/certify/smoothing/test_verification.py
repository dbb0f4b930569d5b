"""Verifying a certificate that somebody else wrote: forgeries are found, and what the file names does not run."""

from __future__ import annotations

import copy
import json
import sys

import pytest

from certify.smoothing import RewardCertificate, certify_curve, default_policy_path, load_policy, sample_returns
from certify.smoothing._verification import _stretches, differences, read_certificate, sample_again
from verify.cli import main


@pytest.fixture(scope="module")
def genuine():
    returns = sample_returns(load_policy(default_policy_path()), "CartPole-v1", sigma=0.2, episodes=120, seed=3)
    return certify_curve(returns, sigma=0.2, budgets=[0.0, 0.25], floor=1.0).to_json()


def forged(record, place, value, *, consistent=False):
    """Return the record with one entry replaced and, where asked, everything that follows from it computed again."""
    fake = copy.deepcopy(record)
    *path, last = place if isinstance(place, tuple) else (place,)
    target = fake
    for name in path:
        target = target[name]
    target[last] = value
    if consistent:
        shell = RewardCertificate.from_json(fake)
        plain = certify_curve(shell.returns, sigma=shell.sigma, budgets=shell.budgets, alpha=shell.alpha, floor=shell.floor, band=shell.band, protocol=shell.protocol)
        fake = {**plain.to_json(), "provenance": fake["provenance"], "assumptions": fake["assumptions"]}
    return fake


def verdict(record, tmp_path, **options):
    """Return (whether the file is verified, the fields that differ, what came of sampling again)."""
    path = tmp_path / "cert.json"
    path.write_text(json.dumps(record))
    stored, found = read_certificate(path)
    odd, _ = differences(stored, found)
    again = sample_again(stored, options.pop("episodes", 120), **options)
    return not odd and again["resampled"] != "different", odd, again


def test_the_genuine_one_is_verified(genuine, tmp_path):
    assert verdict(genuine, tmp_path) == (True, [], {"resampled": "equal", "detail": "0 of 120 returns differ, by at most 0"})
    assert verdict(genuine, tmp_path, episodes=7)[0]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("lower", 0), 499.0), (("value", 1), 499.0), (("budgets", 1), 0.2), (("thresholds", 0), 3.0), (("counts", 0), 3), (("survival_lower", 0), 0.9999),
        (("survival_miss", 0), 1e-9), ("alpha", 1e-9), ("level", 0.01), ("clean_mean", 500.0), ("episodes", 10**6), ("sound", False), ("assumptions", []),
        ("band", "dkw"), ("floor", 2.0), (("returns", 0), 499.0),
    ],
)  # fmt: skip
def test_every_field_that_follows_from_the_rest_is_compared(genuine, tmp_path, place, value):
    good, odd, _ = verdict(forged(genuine, place, value), tmp_path, episodes=0)
    assert not good
    assert odd


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [("sigma", 2.0, "sigma must be that of the returns, 0.2"), (("provenance", "sigma"), 0.1, "sigma must be that of the returns"),
     (("provenance", "average"), 4, "protocol samples must be at least 4")],
)  # fmt: skip
def test_settings_must_fit_the_provenance_even_when_the_bound_follows_from_them(genuine, tmp_path, place, value, message):
    good, odd, _ = verdict(forged(genuine, place, value, consistent=True), tmp_path, episodes=0)
    assert not good
    assert message in odd[0]


def test_frequencies_cannot_pass_as_limits(genuine, tmp_path):
    record = forged(genuine, "band", "plugin", consistent=True)
    assert not record["sound"]
    assert "sound" in verdict(forged(record, "sound", True), tmp_path, episodes=0)[1]


@pytest.mark.parametrize("position", [0, 60, 119])
def test_a_return_that_was_never_earned_is_found_when_its_episode_is_sampled(genuine, tmp_path, position):
    record = forged(genuine, ("returns", position), 499.0, consistent=True)
    assert verdict(record, tmp_path, episodes=0)[1] == []
    assert verdict(record, tmp_path)[2]["resampled"] == "different"


def test_provenance_that_sampling_does_not_confirm_is_found(genuine, tmp_path):
    good, _, again = verdict(forged(genuine, ("provenance", "floor"), 0.5), tmp_path, episodes=4)
    assert not good
    assert "other provenance: floor" in again["detail"]


@pytest.mark.parametrize(("total", "count"), [(1, 1), (2, 2), (10, 9), (11, 10), (400, 40), (10_000, 200), (7, 7), (5, 3)])
def test_stretches_are_disjoint_and_reach_both_ends(total, count):
    for _ in range(20):
        episodes = [e for first, size in _stretches(total, count) for e in range(first, first + size)]
        assert len(episodes) == len(set(episodes)) == count
        assert episodes[0] == 0
        assert max(episodes) == total - 1 or count == 1
        assert episodes == sorted(episodes)


@pytest.mark.parametrize("place", [("provenance", "policy"), ("provenance", "env_id")])
def test_code_that_the_file_names_does_not_run_without_trust(genuine, tmp_path, monkeypatch, place):
    (tmp_path / "burglar.py").write_text(f"open({str(tmp_path / 'inside')!r}, 'w').close()\ndef act(rows):\n    return [0] * len(rows)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "burglar", raising=False)
    record = forged(genuine, place, "burglar:act" if place[1] == "policy" else "burglar:CartPole-v1")
    _, _, again = verdict(record, tmp_path, episodes=4)
    assert again["resampled"] == "not possible"
    assert "names code" in again["detail"]
    assert not (tmp_path / "inside").exists()
    with pytest.raises(ValueError, match="policy must be the one certified|cannot be made|engine"):
        verdict(record, tmp_path, episodes=4, trust=True)
    assert (tmp_path / "inside").exists()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("provenance", "seed"), "x", "seed must be an integer"), (("provenance", "frames"), "x", "frames must be an integer"), (("provenance", "env_id"), [1], "env_id must be text"),
        (("provenance", "policy_sha256"), "0", "policy must be the one certified"), (("provenance", "colour"), 1, "unknown field"), (("provenance", "engine"), "given", "engine must be"),
    ],
)  # fmt: skip
def test_nonsense_in_the_provenance_is_named(genuine, tmp_path, place, value, message):
    with pytest.raises(ValueError, match=message):
        verdict(forged(genuine, place, value), tmp_path, episodes=4)


@pytest.mark.parametrize(("text", "message"), [("[" * 100_000, "must be a JSON file"), ("\xff", "must be a JSON file"), ('{"schema": 1e999}', "schema"), ("", "must be a JSON file")])
def test_files_that_are_no_certificates(tmp_path, text, message):
    path = tmp_path / "cert.json"
    path.write_text(text, encoding="latin1")
    with pytest.raises(ValueError, match=message):
        read_certificate(path)
    with pytest.raises(ValueError, match="certificate must be a file that can be read"):
        read_certificate(tmp_path / "none.json")


def test_the_verb_says_what_was_and_what_was_not_verified(genuine, tmp_path, capsys):
    def call(record, *options):
        (tmp_path / "cert.json").write_text(json.dumps(record))
        with pytest.raises(SystemExit) as stop:
            main(["certify", "verify", str(tmp_path / "cert.json"), *options])
        return stop.value.code or 0, capsys.readouterr().out

    status, out = call(genuine, "--episodes", "12")
    assert (status, out.splitlines()[-1]) == (0, "verified")
    status, out = call({**genuine, "provenance": None})
    assert status == 0
    assert "which were not sampled again" in out
    status, out = call(forged(genuine, ("lower", 0), 499.0), "--episodes", "0", "--json")
    assert status == 1
    assert json.loads(out)["differences"] == ["lower"]
    status, out = call(forged(genuine, "sigma", 2.0, consistent=True), "--episodes", "0")
    assert status == 1
    assert out.splitlines()[-1] == "NOT verified"
