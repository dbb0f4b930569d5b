"""What changed between two recorded runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from verify.records import read_record

__all__ = ["compare_runs"]

FIELDS = ("verdict", "tightness", "sensitivity", "instances", "alpha")


def compare_runs(run_a: str | Path, run_b: str | Path) -> list[dict[str, Any]]:
    """List the differences of two runs.

    Parameters
    ----------
    run_a, run_b : path
        Folders of records.

    Returns
    -------
    list of dict
        Entries `key`, `field`, `a`, `b`: settings of the run first, then each guarantee's verdict, tightness, sensitivity, number of
        instances, error probability and controls; a missing guarantee has the value None.

    Raises
    ------
    ValueError
        If a folder holds no record.
    """
    a, b = read_record(run_a), read_record(run_b)
    rows = [_row("run", name, a.header.get(name), b.header.get(name)) for name in ("budget", "seed", "sources")]
    for name in sorted({*a.header["provenance"], *b.header["provenance"]}):
        rows.append(_row("run", name, a.header["provenance"].get(name), b.header["provenance"].get(name)))
    for key in sorted({*a.entries, *b.entries}):
        one, two = a.entries.get(key), b.entries.get(key)
        if one is None or two is None:
            rows.append(_row(key, "present", one is not None, two is not None))
            continue
        rows += [_row(key, name, one[name], two[name]) for name in FIELDS]
        for name in sorted({*one["controls"], *two["controls"]}):
            rows.append(_row(key, f"control: {name}", *(entry["controls"].get(name, {}).get("verdict") for entry in (one, two))))
    return [row for row in rows if not _same(row["a"], row["b"])]


def _row(key: str, name: str, a: Any, b: Any) -> dict[str, Any]:
    return {"key": key, "field": name, "a": a, "b": b}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-12, abs_tol=0.0)
    return bool(a == b)
