"""The command line: exit statuses, one-line errors, and nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from verify.cli import main

pytestmark = pytest.mark.usefixtures("with_my_paper")


@pytest.fixture
def lemmata(capsys, monkeypatch, tmp_path):
    """Run the command in an empty folder; returns (status, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return call


def test_list_show_and_their_json(lemmata):
    status, out, _ = lemmata("list")
    assert status == 0
    assert "my_paper/AM-GM" in out
    status, out, _ = lemmata("list", "--json")
    assert {"my_paper/AM-GM", "my_paper/AM-HM"} <= {row["key"] for row in json.loads(out)}
    status, out, _ = lemmata("show", "my_paper/AM-HM")
    assert status == 0
    assert "refuted (ours)" in out
    assert "false unless" in out
    status, out, _ = lemmata("show", "my_paper/AM-GM", "--json")
    assert json.loads(out)["test"].startswith("The geometric mean on the left")
    status, out, _ = lemmata("show", "my_paper/AM-HM", "--bibtex")
    assert status == 0
    assert out.startswith("@article{my_paper,")
    assert out.rstrip().endswith("}")
    assert "AM-HM (AM-HM): refuted (ours)" in out
    assert out.count("{") == out.count("}")


def test_keys_are_printed_whole_wherever_the_output_goes(lemmata, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    for arguments in (("list",), ("check", "my_paper", "--out", "run")):
        _, out, _ = lemmata(*arguments)
        assert "my_paper/AM-GM " in out
        assert "…" not in out


def test_check_prints_verdicts_and_the_probability_spent(lemmata):
    status, out, _ = lemmata("check", "my_paper", "--out", "run", "--csv", "results.csv")
    assert status == 0
    assert "2 of 2 as expected" in out
    status, out, _ = lemmata("check", "my_paper", "--json", "--out", "run")
    assert status == 0
    assert len(json.loads(out)["results"]) == 2


def test_hunt_saves_what_check_replays(lemmata):
    status, out, _ = lemmata("hunt", "my_paper/AM-HM", "--seconds", 2, "--json")
    assert status == 0
    file = json.loads(out)["file"]
    status, out, _ = lemmata("check", "my_paper/AM-HM", "--instance", file, "--json")
    assert status == 0
    assert json.loads(out)["results"][0]["verdict"] == "violated"
    status, _, err = lemmata("check", "my_paper/AM-GM", "--instance", file)
    assert status == 2
    assert "my_paper/AM-HM" in err


def test_plot_writes_the_formats_it_names(lemmata, tmp_path):
    for name in ("a.png", "b.svg", "c.pdf"):
        assert lemmata("plot", "my_paper/AM-GM", "--out", name)[0] == 0
        assert (tmp_path / name).stat().st_size > 1000


def test_diff_and_export(lemmata, tmp_path):
    lemmata("check", "my_paper", "--out", "a")
    lemmata("check", "my_paper/AM-GM", "--out", "b", "--seed", 5)
    status, out, _ = lemmata("diff", "a", "b", "--json")
    assert status == 0
    assert any(row["field"] == "seed" for row in json.loads(out))
    status, out, _ = lemmata("export", "my_paper/AM-GM", "--out", "exact.json")
    assert status == 0
    done = subprocess.run([sys.executable, "-m", "verify.exact_check", tmp_path / "exact.json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "decided alike" in done.stdout


BAD = [
    pytest.param(("check", "my_papre"), "did you mean", id="unknown key"),
    pytest.param(("show", "nothing/G1"), "key must be", id="unknown guarantee"),
    pytest.param(("check", "my_paper", "--budget", "medium"), "budget must be one of", id="unknown budget"),
    pytest.param(("plot", "my_paper/AM-GM", "--out", "figure.txt"), "out must end in", id="unknown format"),
    pytest.param(("plot", "my_paper/AM-GM", "--out", "nowhere/figure.png"), "existing folder", id="missing folder"),
    pytest.param(("diff", "a", "b"), "run folder must hold", id="no run"),
    pytest.param(("check", "my_paper", "--instance", "none.json"), "none.json", id="no instance file"),
    pytest.param(("check", "my_paper", "--out", "/dev/null/run"), "out must be a folder that exists or can be created", id="no folder for the record"),
    pytest.param(("check", "my_paper", "--csv", "nowhere/results.csv"), "csv must be in an existing folder", id="no folder for the table"),
    pytest.param(("report", "--key", "my_paper", "--out", "/dev/null/report"), "out must be a folder that exists", id="no folder for the report"),
    pytest.param(("export", "my_paper/AM-GM", "--out", "nowhere/exact.json"), "out must be in an existing folder", id="no folder for the export"),
    pytest.param(("hunt", "my_paper/AM-GM", "--out", "nowhere/best.json"), "out must be in an existing folder", id="no folder for the find"),
    pytest.param(("check", "my_paper", "--seed", "-1"), "Invalid value for '--seed': ", id="seed below zero"),
    pytest.param(("check", "my_paper", "--jobs=none"), "got 'none'", id="no number of workers"),
    pytest.param(("hunt", "my_paper/AM-GM", "--seconds", "x"), "got 'x'", id="no number of seconds"),
    pytest.param(("nonsense",), "No such command 'nonsense'", id="no such verb"),
    pytest.param(("check", "--nonsense"), "No such option: --nonsense", id="no such option"),
    pytest.param(("show",), "Missing argument", id="nothing to show"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line_and_status_two(lemmata, tmp_path, arguments, message):
    status, _, err = lemmata(*arguments)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [(), ("certify",), ("cache",)])
def test_a_command_without_its_verb_shows_the_verbs(lemmata, arguments):
    status, out, err = lemmata(*arguments)
    assert status == 2
    assert "Usage: lemmata" in out + err
    assert "error" not in err


def test_an_interruption_has_its_own_status(lemmata, monkeypatch):
    import verify.runner

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(verify.runner, "run_check", interrupt)
    status, _, err = lemmata("check", "my_paper")
    assert status == 130
    assert err == "interrupted; finished parts are kept, run the same command to continue\n"


def test_the_version_is_printed(lemmata):
    status, out, _ = lemmata("--version")
    assert status == 0
    assert out.startswith("lemmata ")


def test_the_cache_can_be_cleared(lemmata, monkeypatch, tmp_path):
    monkeypatch.setenv("LEMMATA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "numba-old").mkdir(parents=True)
    assert lemmata("cache", "path")[1].strip() == str(tmp_path / "cache")
    assert lemmata("cache", "clear")[0] == 0
    assert not (tmp_path / "cache").exists()
