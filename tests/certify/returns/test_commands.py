"""The verbs `lemmata certify returns` and `lemmata certify cvar` in an empty folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from verify.cli import main

LAKE = ("returns", "--mdp", "FrozenLake-v1", "--discount", "0.95")
CLIFF = ("cvar", "--mdp", "CliffWalking-v1", "--tau", "0.1", "--horizon", "20")


def lemmata(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["certify", *arguments])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "picture"),
    [
        ((*LAKE, "--policy", "optimal", "--plot"), "returns.png"),
        ((*LAKE, "--plot", "--policy", "uniform"), "returns.png"),
        ((*LAKE, "--plot", "law.svg"), "law.svg"),
        ((*CLIFF, "--plot"), "cvar.png"),
    ],
)
def test_plot_with_and_without_a_name(empty_folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], picture: str) -> None:
    status, out, _ = lemmata(capsys, *arguments)
    assert status == 0
    assert picture in out
    assert [path.name for path in empty_folder.iterdir()] == [picture]
    assert (empty_folder / picture).stat().st_size > 1000


def test_cvar_shows_both_histograms(empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = lemmata(capsys, *CLIFF)
    assert status == 0
    assert "largest mean" in out
    assert "Return histogram" in out
    assert not list(empty_folder.iterdir())


def test_cvar_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = lemmata(capsys, *CLIFF, "--slippery", "--json")
    assert status == 0
    data = json.loads(out)
    assert data["largest CVaR 0.1, at least"] <= -20.0 <= data["largest CVaR 0.1, at most"]  # staying off the cliff costs a step each time
    for name in ("mean_optimal", "cvar_optimal"):
        assert sum(row[name] for row in data["histogram"]) == pytest.approx(1.0)
    means = [sum(row[name] * 0.5 * (row["from"] + row["to"]) for row in data["histogram"]) for name in ("mean_optimal", "cvar_optimal")]
    assert means[0] >= means[1] - 1.0


BAD = [
    pytest.param((*CLIFF[:3], "--tau", "0", "--horizon", "5"), "tau must be", id="tau 0"),
    pytest.param((*CLIFF[:3], "--tau", "nan", "--horizon", "5"), "tau must be", id="tau nan"),
    pytest.param((*CLIFF[:3], "--tau", "1.5", "--horizon", "5"), "tau must be", id="tau above 1"),
    pytest.param(CLIFF[:5], "discount must be below 1", id="neither discount nor horizon"),
    pytest.param((*CLIFF, "--tail", "middle"), "tail must be", id="tail"),
    pytest.param((*LAKE[:3], "--discount", "1.5"), "discount must be", id="discount above 1"),
    pytest.param((*LAKE, "--atoms", "1"), "atoms must be", id="one atom"),
    pytest.param((*LAKE, "--policy", "best"), "policy must be", id="policy"),
    pytest.param((*LAKE, "--plot", "x.bmp"), "plot must end in", id="picture format"),
    pytest.param((*LAKE, "--plot", "nowhere/x.png"), "plot must be a file in an existing folder", id="picture folder"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    status, _, err = lemmata(capsys, *arguments)
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
