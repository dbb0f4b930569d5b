"""Running, recording, continuing, comparing and exporting runs."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from verify import Verdict, records, run
from verify.diff import compare_runs
from verify.exact_check import check_export, export_comparisons
from verify.hunt import hunt, load_instance, save_instance
from verify.registry import check_of, select
from verify.runner import check_seed, run_check
from verify.testing import assert_holds, evaluate

pytestmark = pytest.mark.usefixtures("with_my_paper")

KEYS = ["my_paper/AM-GM", "my_paper/AM-HM"]


def test_a_paper_of_ones_own_is_checked():
    found = run("my_paper")
    assert list(found.results) == KEYS
    assert found.results["my_paper/AM-GM"].verdict is Verdict.HOLDS
    assert found.results["my_paper/AM-HM"].verdict is Verdict.VIOLATED
    assert found.exit_status == 0
    result = found.results["my_paper/AM-GM"]
    assert result.instances == 6
    assert result.tightness == pytest.approx(1.0)
    assert result.controls["nine tenths of the mean"].verdict is Verdict.VIOLATED
    assert result.controls["nine tenths of the mean"].passed
    assert len(result.comparisons) == 6
    assert result.seconds >= 0.0
    assert len(found.to_dataframe()) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keys": "my_papre"}, "did you mean 'my_paper'"),
        ({"keys": ["my_paper/AM-GN"]}, "did you mean 'my_paper/AM-GM'"),
        ({"keys": "my_paper", "budget": "medium"}, "budget must be one of quick, full"),
        ({"keys": "my_paper", "seed": -1}, "seed must be an integer >= 0"),
        ({"keys": "my_paper", "seed": 1.5}, "seed must be an integer"),
        ({"keys": "my_paper", "jobs": 0}, "jobs must be an integer >= 1"),
        ({"keys": 3}, "key must be that of a guarantee or a paper, got 3"),
        ({"keys": ["my_paper", None]}, "key must be that of a guarantee or a paper, got None"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_seeds_of_numpy_are_seeds():
    assert run("my_paper", seed=np.int64(3)).digest == run("my_paper", seed=3).digest
    words = np.random.SeedSequence(3), np.random.SeedSequence(4)
    assert run("my_paper", seed=words[0]).seed == run("my_paper", seed=np.random.SeedSequence(3)).seed != run("my_paper", seed=words[1]).seed


def test_a_key_that_names_several_guarantees_is_not_one():
    assert select("my_paper") == tuple(KEYS)
    with pytest.raises(ValueError, match="must name one guarantee"):
        check_of("my_paper")


def test_seeds_depend_on_everything():
    seeds = {check_seed(s, k, i, control=c) for s in (0, 1) for k in KEYS for i in range(3) for c in (0, 1, 2)}
    assert len(seeds) == 2 * 2 * 3 * 3


def test_a_record_continues_and_a_torn_line_is_forgiven(tmp_path):
    out = tmp_path / "run"
    first = run("my_paper", out=out)
    with open(out / "results.jsonl", "ab") as file:
        file.write(b'{"key": "my_paper/AM-HM", "verd')
    calls = []
    again = run("my_paper", out=out, progress=lambda key, result: calls.append((key, result is not None)))
    assert calls == [(key, True) for key in KEYS]
    assert again.digest == first.digest
    (out / "results.jsonl").write_bytes((out / "results.jsonl").read_bytes().splitlines(keepends=True)[0] + b'{"torn')
    assert run("my_paper", out=out).digest == first.digest
    assert set(records.read_record(out).entries) == set(KEYS)


def test_a_damaged_entry_of_a_record_is_computed_again(tmp_path):
    first = run("my_paper", out=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    del lines[0]["verdict"]
    lines[1]["comparisons"] = "none"
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run("my_paper", out=tmp_path).digest == first.digest


def test_an_interrupted_run_keeps_what_was_finished(tmp_path):
    def interrupt(key, result):
        if result is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("my_paper", out=tmp_path / "run", progress=interrupt)
    assert list(records.read_record(tmp_path / "run").entries) == KEYS[:1]


def test_a_record_of_another_run_is_refused(tmp_path):
    run("my_paper", out=tmp_path / "run", seed=1)
    with pytest.raises(ValueError, match="seed"):
        run("my_paper", out=tmp_path / "run", seed=2)
    header = tmp_path / "run" / "run.json"
    header.write_text(header.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(ValueError, match="format"):
        run("my_paper", out=tmp_path / "run", seed=1)
    for text in ("{", "[" * 200_000, '{"format": ' + "9" * 5000 + "}"):
        header.write_text(text)
        with pytest.raises(ValueError, match="broken"):
            run("my_paper", out=tmp_path / "run", seed=1)
    with pytest.raises(ValueError, match=r"run\.json"):
        records.read_record(tmp_path)


def test_workers_change_nothing(my_paper, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(my_paper), os.environ.get("PYTHONPATH", "")]))
    assert run("my_paper", jobs=2).digest == run("my_paper", jobs=1).digest


def test_a_dask_cluster_changes_nothing(my_paper, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="needs the extra [dask]")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(my_paper), os.environ.get("PYTHONPATH", "")]))
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        assert run("my_paper", dask=cluster.scheduler_address).digest == run("my_paper").digest
    with pytest.raises(ValueError, match="reachable scheduler"):
        run("my_paper", dask="tcp://127.0.0.1:1")


def test_a_diff_shows_what_changed_and_nothing_else(tmp_path):
    run("my_paper", out=tmp_path / "a")
    run("my_paper", out=tmp_path / "b")
    assert compare_runs(tmp_path / "a", tmp_path / "b") == []
    run("my_paper/AM-GM", out=tmp_path / "c", seed=3)
    rows = compare_runs(tmp_path / "a", tmp_path / "c")
    assert {(r["key"], r["field"]) for r in rows} == {("run", "seed"), ("my_paper/AM-HM", "present")}


def test_an_export_is_decided_again_in_rationals():
    data = json.loads(json.dumps(export_comparisons(run_check(check_of("my_paper/AM-GM")))))
    assert check_export(data) == []
    data["comparisons"][0]["left_lower"] = "5/1"
    data["comparisons"][0]["left_upper"] = "5/1"
    assert len(check_export(data)) == 1
    with pytest.raises(ValueError, match="format"):
        check_export({"comparisons": []})


def test_a_hunt_finds_the_counterexample_of_a_refuted_claim_and_the_tight_instance_of_a_true_one(tmp_path):
    lines = []
    found = hunt(check_of("my_paper/AM-HM"), seconds=5, progress=lines.append)
    assert found.verdict is Verdict.VIOLATED
    assert found.confirmed
    assert lines
    true = hunt(check_of("my_paper/AM-GM"), seconds=1)
    assert true.verdict is Verdict.HOLDS
    assert true.ratio == pytest.approx(1.0, abs=1e-3)
    save_instance(tmp_path / "found.json", "my_paper/AM-HM", found.instance)
    key, instance = load_instance(tmp_path / "found.json")
    assert key == "my_paper/AM-HM"
    assert run_check(check_of(key), instances=[instance]).verdict is Verdict.VIOLATED
    with pytest.raises(ValueError, match="seconds"):
        hunt(check_of("my_paper/AM-GM"), seconds=0)


BROKEN = {
    "empty": "", "list": "[]", "object": "{}", "format": '{"lemmata-instance": 2, "key": "a", "params": {}}', "zero": "\x00",
    "nested": "[" * 200_000, "digits": '{"key": ' + "9" * 5000 + "}",
}  # fmt: skip


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_broken_instance_files_are_refused(tmp_path, text):
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(ValueError, match="instance"):
        load_instance(tmp_path / "broken.json")


def test_assert_holds_speaks_for_guarantees_checks_and_keys():
    check = check_of("my_paper/AM-GM")
    for target in (check, check.guarantee, check.key):
        assert_holds(target, {"a": 1.0, "b": 9.0})
    assert evaluate(check, {"a": 1.0, "b": 9.0}).right.value == 5.0
    assert_holds("my_paper/AM-HM", {"a": 1.0, "b": 9.0})
    with pytest.raises(AssertionError, match="my_paper/AM-HM holds"):
        assert_holds("my_paper/AM-HM", {"a": 2.0, "b": 2.0})
