"""A store of returns that survives a crash: SQLite in write-ahead mode, one row a chunk of the stream.

A chunk is acknowledged when its transaction is on disk.  A store belongs to one policy, environment, noise and seed; sampling into it
plays the chunks that are missing, so an interrupted run continues with the same stream and ends with the same bytes.  Several processes
may fill one store: each claims chunks in a transaction, the claims of dead processes are void, and a chunk that two of them play is
the same chunk.  Write-ahead logging does not work on network file systems; there the store falls back to a rollback journal.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify._validate import require_integer_at_least
from certify.smoothing._plan import CHUNKS, Plan
from certify.smoothing.returns import Returns
from certify.smoothing.sampling import plan_sampling, run_plan

__all__ = ["read_store", "sample_into_store"]

_FORMAT = "lemmata.returns-store/1"
_LEASE = 600.0
"""Seconds after which a claim is void even if its process seems to live."""

_PATIENCE = 60.0
"""Seconds to wait for a store that another process has locked."""

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS chunks (number INTEGER PRIMARY KEY, returns BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS claims (number INTEGER PRIMARY KEY, host TEXT NOT NULL, process INTEGER NOT NULL, since REAL NOT NULL);
"""


def sample_into_store(
    path: str | Path,
    policy: Any,
    env_id: str,
    *,
    episodes: int,
    jobs: int = 1,
    dask: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    **setting: Any,
) -> Returns:
    """Fill a store until it holds the first `episodes` episodes of a stream, and return them.

    Parameters
    ----------
    path : str or Path
        The store; made when missing, continued when present.
    policy, env_id
        As in `sample_returns`.
    episodes : int
        Episodes wanted, counted from 0; whole chunks are played and kept.
    jobs : int
        Workers on this machine.
    dask : str or None
        Address of a Dask scheduler.
    progress : callable or None
        Called with (episodes done, episodes in all) after each acknowledged chunk.
    **setting
        Further arguments of `plan_sampling`: sigma, seed, frames and so on; an unknown one raises TypeError.

    Returns
    -------
    Returns
        The same bytes as `sample_returns` with these arguments.

    Raises
    ------
    ValueError
        If the store is damaged or belongs to another policy, environment, noise or seed, or the policy is a function of which nothing tells
        it from others.
    OSError
        If it cannot be written.
    """
    episodes = require_integer_at_least("episodes", episodes, 1)
    jobs = require_integer_at_least("jobs", jobs, 1)
    plan, provenance = plan_sampling(policy, env_id, **setting)
    if not provenance["policy_sha256"]:
        raise ValueError(
            f"policy {plan.policy.name} must be a file, a perceptron or 'module:function' to be sampled into a store, which could not tell it from others; "
            "a CallablePolicy may name its own sha256"
        )
    wanted = -(-episodes // CHUNKS[plan.engine])
    with _opened(Path(path)) as store:
        _agree(store, provenance, Path(path))
        while missing := _missing(store, wanted):
            mine = _claim(store, missing, 8 * jobs)
            if not mine:
                time.sleep(0.1)  # every missing chunk is being played by a living process
            for number, values in _played(plan, mine, jobs, dask):
                _append(store, number, values)
                if progress is not None:
                    progress(min(_count(store) * CHUNKS[plan.engine], episodes), episodes)
        return _returns(store, provenance, plan.engine, episodes)


def read_store(path: str | Path) -> Returns:
    """Return the episodes at the start of the stream that a store holds without a gap.

    Parameters
    ----------
    path : str or Path
        The store.

    Returns
    -------
    Returns
        Its returns and their provenance.

    Raises
    ------
    ValueError
        If it is no store of returns, is damaged or still empty.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"store {path} does not exist")
    with _opened(Path(path)) as store:
        row = store.execute("SELECT value FROM meta WHERE name = 'provenance'").fetchone()
        if row is None:
            raise ValueError(f"store {path} is empty")
        provenance = json.loads(row[0])
        numbers = [number for (number,) in store.execute("SELECT number FROM chunks ORDER BY number")]
        whole = next((k for k, number in enumerate(numbers) if k != number), len(numbers))
        if whole == 0:
            raise ValueError(f"store {path} does not hold the first chunk yet")
        if isinstance(provenance["sigma"], list):
            provenance["sigma"] = tuple(provenance["sigma"])
        return _returns(store, provenance, provenance["engine"], whole * CHUNKS[provenance["engine"]])


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"store {path} cannot be written: its folder does not exist")
    try:
        store = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    except sqlite3.Error as error:
        raise OSError(f"store {path} cannot be opened: {error}") from None
    try:
        _prepare(store, path)
        yield store
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise OSError(f"store {path} cannot be used: {error}") from None
        raise ValueError(f"store {path} is not a store of returns: {error}") from None
    finally:
        store.close()


def _prepare(store: sqlite3.Connection, path: Path) -> None:
    """Bring a connection to the point where it can read and write chunks, waiting for whoever is doing the same.

    The change to write-ahead logging raises a read lock to an exclusive one, and SQLite answers "locked" to that at once, whatever its
    timeout is, because waiting could be a deadlock.  It is therefore asked for only where it is not on yet, and asked again.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            _require_own_tables(store, path)
            if store.execute("PRAGMA journal_mode").fetchone()[0].lower() != "wal" and store.execute("PRAGMA journal_mode = WAL").fetchone()[0].lower() != "wal":
                store.execute("PRAGMA journal_mode = DELETE")
            store.execute("PRAGMA synchronous = FULL")
            verdict = store.execute("PRAGMA quick_check").fetchone()[0]
            if verdict != "ok":
                raise ValueError(f"store {path} is damaged: {verdict}")
            store.executescript(_TABLES)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _require_own_tables(store: sqlite3.Connection, path: Path) -> None:
    """Refuse a database that something else made, before anything is written into it."""
    tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables <= {"meta", "chunks", "claims"}:
        raise ValueError(f"store {path} is not a store of returns: it holds the table {min(tables - {'meta', 'chunks', 'claims'})!r}")
    if "meta" in tables:
        row = store.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
        if row is not None and row[0] != _FORMAT:
            raise ValueError(f"store {path} must have the format {_FORMAT!r}, got {row[0]!r}")


@contextmanager
def _transaction(store: sqlite3.Connection) -> Iterator[None]:
    store.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        store.execute("ROLLBACK")
        raise
    store.execute("COMMIT")


def _agree(store: sqlite3.Connection, provenance: dict[str, Any], path: Path) -> None:
    """Write the provenance into a new store, or refuse one that holds something else."""
    fresh = json.loads(json.dumps(provenance))
    with _transaction(store):
        row = store.execute("SELECT value FROM meta WHERE name = 'provenance'").fetchone()
        if row is None:
            store.execute("INSERT INTO meta VALUES ('format', ?), ('provenance', ?)", (_FORMAT, json.dumps(fresh)))
            return
    stored = json.loads(row[0])
    # The path of a policy may change; what it is may not.
    for name in sorted(set(fresh) | set(stored)):
        if name != "policy" and fresh.get(name) != stored.get(name):
            raise ValueError(f"store {path} holds returns with {name} {stored.get(name)!r} and cannot take some with {name} {fresh.get(name)!r}")


def _missing(store: sqlite3.Connection, wanted: int) -> list[int]:
    there = {number for (number,) in store.execute("SELECT number FROM chunks WHERE number < ?", (wanted,))}
    return [number for number in range(wanted) if number not in there]


def _claim(store: sqlite3.Connection, missing: list[int], most: int) -> list[int]:
    """Take up to `most` of the missing chunks that no living process has taken."""
    host, process, now = socket.gethostname(), os.getpid(), time.time()
    with _transaction(store):
        taken = {}
        for number, owner_host, owner, since in store.execute("SELECT number, host, process, since FROM claims"):
            alive = now - since < _LEASE and (owner_host != host or _is_alive(owner))
            if alive and (owner_host, owner) != (host, process):
                taken[number] = owner
        mine = [number for number in missing if number not in taken][:most]
        rows = [(number, host, process, now) for number in mine]
        store.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)", rows)
    return mine


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _played(plan: Plan, numbers: list[int], jobs: int, dask: str | None) -> Iterator[tuple[int, NDArray[np.float64]]]:
    width = CHUNKS[plan.engine]
    if numbers:
        for start, values in run_plan(plan, [(number * width, width) for number in numbers], jobs=jobs, dask=dask):
            yield start // width, values


def _append(store: sqlite3.Connection, number: int, values: NDArray[np.float64]) -> None:
    data = np.ascontiguousarray(values, "<f8").tobytes()
    with _transaction(store):
        store.execute("INSERT OR IGNORE INTO chunks VALUES (?, ?)", (number, data))
        store.execute("DELETE FROM claims WHERE number = ?", (number,))
        (kept,) = store.execute("SELECT returns FROM chunks WHERE number = ?", (number,)).fetchone()
    if kept != data:
        raise ValueError(f"chunk {number} was played before with other returns: the policy or the environment is not deterministic here")


def _count(store: sqlite3.Connection) -> int:
    return int(store.execute("SELECT COUNT(*) FROM chunks").fetchone()[0])


def _returns(store: sqlite3.Connection, provenance: dict[str, Any], engine: str, episodes: int) -> Returns:
    chunks = -(-episodes // CHUNKS[engine])
    rows = store.execute("SELECT returns FROM chunks WHERE number < ? ORDER BY number", (chunks,)).fetchall()
    if len(rows) != chunks or any(len(row) != 8 * CHUNKS[engine] for (row,) in rows):
        raise ValueError(f"the store is damaged: it holds {len(rows)} chunks of {chunks}, or one of another length than {CHUNKS[engine]} episodes")
    values = np.frombuffer(b"".join(row for (row,) in rows), "<f8")
    return Returns(values[:episodes], **provenance)
