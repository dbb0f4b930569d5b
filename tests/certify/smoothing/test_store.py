"""The store of returns: nothing acknowledged is lost, nothing foreign gets in, the bytes are those of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from certify.smoothing import MlpPolicy, Returns, default_policy_path, load_policy, sample_returns
from certify.smoothing.store import read_store, sample_into_store

SHIPPED = load_policy(default_policy_path())
SETTING: dict[str, Any] = {"sigma": 0.3, "seed": 5, "max_steps": 40}

WRITER = """
import sys
from certify.smoothing import default_policy_path
from certify.smoothing.store import sample_into_store
print("start", flush=True)
sample_into_store(sys.argv[1], str(default_policy_path()), "CartPole-v1", sigma=0.3, seed=5, max_steps=40, episodes=int(sys.argv[2]),
                  progress=lambda done, total: print(done, flush=True))
print("end", flush=True)
"""


def writer(path: Path, episodes: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(episodes)], stdout=subprocess.PIPE, text=True)


def stored_chunks(path: Path) -> int:
    with sqlite3.connect(path) as store:
        count = int(store.execute("SELECT COUNT(*) FROM chunks").fetchone()[0])
    store.close()
    return count


def reference(episodes: int) -> Returns:
    return sample_returns(SHIPPED, "CartPole-v1", episodes=episodes, **SETTING)


def test_a_store_gives_the_bytes_of_a_plain_run_and_grows(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    calls: list[tuple[int, int]] = []
    first = sample_into_store(path, SHIPPED, "CartPole-v1", episodes=300, progress=lambda done, total: calls.append((done, total)), **SETTING)
    assert first == reference(300)
    assert calls == [(256, 300), (300, 300)]
    assert sample_into_store(path, SHIPPED, "CartPole-v1", episodes=700, jobs=2, **SETTING) == reference(700)
    assert len(read_store(path)) == 768
    assert read_store(path).values[:700].tobytes() == reference(700).values.tobytes()


OTHER = MlpPolicy(SHIPPED.weights, SHIPPED.biases, "relu", sha256="0" * 64)


@pytest.mark.parametrize(("change", "name"), [({"sigma": 0.2}, "sigma"), ({"seed": 6}, "seed"), ({"env_id": "CartPole-v0"}, "env_id"), ({"policy": OTHER}, "policy_sha256"),
                                              ({"max_steps": 41}, "max_steps"), ({"noise": "grid"}, "noise"), ({"average": 2}, "average")])  # fmt: skip
def test_other_returns_are_refused(tmp_path: Path, change: dict[str, Any], name: str) -> None:
    path = tmp_path / "s.db"
    sample_into_store(path, SHIPPED, "CartPole-v1", episodes=1, **SETTING)
    setting = {"policy": SHIPPED, "env_id": "CartPole-v1", **SETTING, **change}
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"with .*{name}" if name != "noise" else "cannot take"):
        sample_into_store(path, setting.pop("policy"), setting.pop("env_id"), episodes=1, **setting)
    assert path.read_bytes() == before


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"surely not a database " * 300)
    with pytest.raises(ValueError, match="not a store"):
        sample_into_store(path, SHIPPED, "CartPole-v1", episodes=1, **SETTING)
    with pytest.raises(FileNotFoundError, match="folder"):
        sample_into_store(tmp_path / "no" / "s.db", SHIPPED, "CartPole-v1", episodes=1, **SETTING)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_store(tmp_path / "missing.db")
    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(ValueError, match="empty"):
        read_store(tmp_path / "empty.db")
    with pytest.raises(ValueError, match="episodes"):
        sample_into_store(tmp_path / "s.db", SHIPPED, "CartPole-v1", episodes=0, **SETTING)
    with pytest.raises(TypeError, match="colour"):
        sample_into_store(tmp_path / "s.db", SHIPPED, "CartPole-v1", episodes=1, colour=1, **SETTING)


def test_policies_in_memory_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    mine, other = (MlpPolicy(tuple(w * factor for w in SHIPPED.weights), SHIPPED.biases) for factor in (1, 2))
    sample_into_store(path, mine, "CartPole-v1", episodes=1, **SETTING)
    assert len(sample_into_store(path, MlpPolicy(mine.weights, mine.biases), "CartPole-v1", episodes=2, **SETTING)) == 2
    with pytest.raises(ValueError, match="policy_sha256"):
        sample_into_store(path, other, "CartPole-v1", episodes=1, **SETTING)
    with pytest.raises(ValueError, match="could not tell it from others"):
        sample_into_store(tmp_path / "t.db", lambda x: [0] * len(x), "CartPole-v1", episodes=1, **SETTING)
    assert not (tmp_path / "t.db").exists()


def test_foreign_and_torn_databases_are_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "accounts.db"
    with sqlite3.connect(foreign) as store:
        store.execute("CREATE TABLE accounts (name TEXT)")
    store.close()
    before = foreign.read_bytes()
    for call in (lambda: read_store(foreign), lambda: sample_into_store(foreign, SHIPPED, "CartPole-v1", episodes=1, **SETTING)):
        with pytest.raises(ValueError, match="holds the table 'accounts'"):
            call()
    assert foreign.read_bytes() == before
    path = tmp_path / "s.db"
    sample_into_store(path, SHIPPED, "CartPole-v1", episodes=300, **SETTING)
    with sqlite3.connect(path) as store:
        store.execute("UPDATE chunks SET returns = substr(returns, 1, 800) WHERE number = 0")
    store.close()
    with pytest.raises(ValueError, match="damaged"):
        read_store(path)
    with sqlite3.connect(path) as store:
        store.execute("UPDATE meta SET value = 'lemmata.returns-store/9' WHERE name = 'format'")
    store.close()
    with pytest.raises(ValueError, match="must have the format"):
        read_store(path)


def test_a_changed_chunk_is_noticed(tmp_path: Path) -> None:
    """A policy that is not deterministic would give a chunk two contents; the second one is refused, not silently dropped."""
    from certify.smoothing.store import _append, _opened

    path = tmp_path / "s.db"
    returns = sample_into_store(path, SHIPPED, "CartPole-v1", episodes=256, **SETTING)
    with _opened(path) as store:
        _append(store, 0, returns.values)
        with pytest.raises(ValueError, match="not deterministic"):
            _append(store, 0, returns.values + 1.0)


def test_claims_of_dead_processes_are_void(tmp_path: Path) -> None:
    import socket

    path = tmp_path / "s.db"
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    sample_into_store(path, SHIPPED, "CartPole-v1", episodes=1, **SETTING)
    with sqlite3.connect(path) as store:
        store.execute("INSERT INTO claims VALUES (1, ?, ?, ?)", (socket.gethostname(), dead.pid, time.time()))
    store.close()
    assert sample_into_store(path, SHIPPED, "CartPole-v1", episodes=512, **SETTING) == reference(512)


def killed(path: Path, episodes: int, moments: random.Random, longest: float) -> int:
    """Start a writer, kill it at a random moment after its first acknowledgement, and return the most episodes it acknowledged."""
    process = writer(path, episodes)
    assert process.stdout is not None
    lines = [process.stdout.readline(), process.stdout.readline()]
    assert lines[0] == "start\n"
    time.sleep(moments.uniform(0.0, longest))
    os.kill(process.pid, signal.SIGKILL)
    lines += process.stdout.read().splitlines(keepends=True)
    process.wait()
    process.stdout.close()
    # A last line without its end was not written whole; the ones before it were.
    return max((int(line) for line in lines if line.endswith("\n") and line.strip().isdigit()), default=0)


@pytest.mark.skipif(os.name != "posix", reason="kills a process by signal")
@pytest.mark.parametrize("kills", [3, pytest.param(200, marks=pytest.mark.slow)])
def test_a_killed_run_loses_nothing_and_ends_with_the_same_bytes(tmp_path: Path, kills: int) -> None:
    reference(1)  # the kernels are in the disk cache before the first writer starts
    moments = random.Random(kills)
    path, episodes = tmp_path / "s.db", 256 * 300 * kills
    acknowledged = 0
    for _ in range(kills):
        acknowledged = max(acknowledged, killed(path, episodes, moments, 0.2))
        assert stored_chunks(path) * 256 >= acknowledged
    assert acknowledged > 0
    assert sample_into_store(path, SHIPPED, "CartPole-v1", episodes=2560, **SETTING) == reference(2560)


@pytest.mark.skipif(os.name != "posix", reason="starts two writers")
def test_two_processes_fill_one_store(tmp_path: Path) -> None:
    path, episodes = tmp_path / "s.db", 256 * 60
    reference(1)
    pair = [writer(path, episodes) for _ in range(2)]
    ends = [process.communicate(timeout=120)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert all(out.endswith("end\n") for out in ends)
    assert stored_chunks(path) == 60
    assert read_store(path).values.tobytes() == reference(episodes).values.tobytes()


def test_a_new_store_waits_for_the_one_that_is_being_made(tmp_path: Path) -> None:
    """SQLite answers "locked" at once to the change of journal while another process reads or writes; the store asks again."""
    path = tmp_path / "s.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
    release = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    release.start()
    assert len(sample_into_store(path, SHIPPED, "CartPole-v1", episodes=1, **SETTING)) == 1
    release.join()
    other.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_gives_the_same_bytes(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra [dask]")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True) as cluster:
        address = cluster.scheduler_address
        assert sample_returns(SHIPPED, "CartPole-v1", episodes=1000, dask=address, **SETTING) == reference(1000)
        assert sample_into_store(tmp_path / "s.db", SHIPPED, "CartPole-v1", episodes=1000, dask=address, **SETTING) == reference(1000)


@pytest.mark.filterwarnings("ignore")
def test_a_missing_scheduler_is_named() -> None:
    pytest.importorskip("distributed", reason="needs the extra [dask]")
    with pytest.raises(ValueError, match="dask must be the address"):
        sample_returns(SHIPPED, "CartPole-v1", episodes=1, dask="nonsense://here", **SETTING)
