"""The verb `lemmata simulate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from verify.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["simulate", *arguments])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_table_plot_and_record(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plot, out = tmp_path / "regret.svg", tmp_path / "run.json"
    status, text, _ = run(capsys, "ucrl2", "--instance", "river-swim:6", "--steps", "1e4", "--seeds", "4", "--plot", str(plot), "--out", str(out))
    assert status == 0
    assert "mean regret" in text
    assert "4 of 4 replicates" in text
    assert plot.read_text().lstrip().startswith("<?xml")
    stored = json.loads(out.read_text())
    assert len(stored["regret"]) == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["regret.svg", "run.json"]


def test_json_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    status, text, _ = run(capsys, "loop", "--steps", "2000", "--seeds", "1", "--set", "beta_scale=0.1", "--set", "ties=truth", "--json")
    facts = json.loads(text)
    assert status == 0
    assert facts["instance"] == "hard:3,10,0.06"
    assert facts["lower"] is None
    assert facts["confidence_event"] == 1.0
    # A tenth of the radius is not the algorithm that the bound speaks of.
    assert facts["bound"] is None
    _, text, _ = run(capsys, "loop", "--steps", "2000", "--seeds", "1", "--json")
    assert json.loads(text)["bound"][-1] > json.loads(text)["mean"][-1]


def test_bare_plot_takes_its_name_from_the_run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, text, _ = run(capsys, "UCRL2", "--instance", "river-swim:6", "--steps", "1e3", "--seeds", "2", "--plot")
    assert status == 0
    assert "picture: ucrl2_river-swim-6.png" in text
    status, text, _ = run(capsys, "--plot", "--json", "LOOP", "--steps", "1e3", "--seeds", "1")
    assert status == 0
    assert json.loads(text)["algorithm"] == "loop"
    pictures = sorted(tmp_path.iterdir())
    assert [p.name for p in pictures] == ["loop_hard-3-10-0.06.png", "ucrl2_river-swim-6.png"]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sarsa"], "algorithm must be one of"),
        (["loop", "--instance", "river-swim:6"], "must be of the family hard"),
        (["ucrl2", "--steps", "1.5"], "steps must be an integer >= 1, got '1.5'"),
        (["ucrl2", "--steps", "inf"], "steps must be an integer >= 1"),
        (["ucrl2", "--steps", "1e30"], "steps must be at most 1e+15"),
        (["ucrl2", "--set", "delta=0.1"], "set must name an option of the algorithm alone, got 'delta=0.1'"),
        (["ucrl2", "--set", "state_factor=7"], "state_factor must be True or False, got 7"),
        (["ucrl2", "--instance", "river-swim:1e7"], "states must keep states^2 * actions at most"),
        (["ucrl2", "--instance", "random:1e4,1e4"], "states must keep states^2 * actions at most"),
        (["ucrl2", "--seeds", "0"], "seeds must be an integer >= 1"),
        (["ucrl2", "--delta", "0"], "delta must be in (0, 1)"),
        (["ucrl2", "--set", "beta"], "set must have the form NAME=VALUE"),
        (["ucrl2", "--set", "beta=1"], "unexpected option 'beta'"),
        (["ucrl2", "--plot", "missing-folder/x.png"], "plot must be a file in an existing folder"),
        (["ucrl2", "--out", "missing-folder/x.json"], "out must be a file in an existing folder"),
        (["ucrl2", "--plot", "x.bmp"], "plot must end in one of"),
        (["ucrl2", "--instance", "lake:3"], "instance must be one of river-swim, hard"),
        (["ucrl2", "--instance", "river-swim:1"], "states must be an integer >= 2"),
        (["loop", "--instance", "hard:3,10,0.5"], "gap must be"),
        (["ucrl2", "--delta", "nan"], "delta must be in (0, 1)"),
        (["ucrl2", "--jobs", "0"], "jobs must be an integer >= 1"),
        (["ucrl2", "--instance", "two-loops:1"], "instance must have the form two-loops"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    status, _, error = run(capsys, *arguments)
    assert status == 2
    assert message in error
    assert error.count("\n") == 1
