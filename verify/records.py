"""The record of a run: a folder with a header and an append-only file of finished checks, one JSON object a line.

A line is flushed to disk before the next check starts; a torn last line, left by a crash, is ignored and overwritten by the next
append.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from certify._files import require_writable, write_atomically
from verify.types import Basis, Claim, Comparison, Estimate, Instance, Slack, Verdict

if TYPE_CHECKING:
    from verify.runner import Result

__all__ = ["FORMAT", "Record", "open_record", "provenance", "read_record", "result_from_json", "result_to_json", "write_atomically"]

FORMAT = 1


@cache
def provenance() -> Mapping[str, str]:
    """Return the versions and the machine behind a result."""
    packages = ("lemmata", "numpy", "scipy", "numba", "cvxpy", "hypothesis", "gymnasium")
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}", **versions}


@dataclass(frozen=True, slots=True)
class Record:
    """An open record: its folder, its header, and the entries of finished checks by key."""

    folder: Path
    header: Mapping[str, Any]
    entries: dict[str, Mapping[str, Any]]

    def append(self, entry: Mapping[str, Any]) -> None:
        """Append one finished check and force it to disk."""
        path = self.folder / "results.jsonl"
        with open(path, "ab+") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(json.dumps(entry, sort_keys=True).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.entries[str(entry["key"])] = entry


def open_record(folder: str | Path, *, budget: str, seed: int) -> Record:
    """Open the record of a run in `folder`, creating it if there is none.

    Raises
    ------
    ValueError
        If the folder holds the record of another seed, budget, version of the sources, or format, or it cannot be created.
    """
    from mdps.jit import source_hash

    wanted = {"format": FORMAT, "budget": budget, "seed": seed, "sources": source_hash()}
    path = Path(folder)
    if (path / "run.json").exists():
        record = read_record(path)
        for name, value in wanted.items():
            if record.header.get(name) != value:
                raise ValueError(f"out must be a new folder or one with {name} {value!r}; {path} holds a run with {record.header.get(name)!r}")
        return record
    header = {**wanted, "provenance": dict(provenance())}
    make_folder("out", path)
    write_atomically(path / "run.json", json.dumps(header, indent=1, sort_keys=True) + "\n")
    return Record(path, header, {})


def make_folder(name: str, folder: Path) -> None:
    """Create a folder of results with its parents, or see that files can be written into it.

    Raises
    ------
    ValueError
        If it cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{name} must be a folder that exists or can be created, got {folder} ({error.strerror})") from None
    require_writable(name, folder / "probe")


def read_record(folder: str | Path) -> Record:
    """Read the record of a run.

    Raises
    ------
    ValueError
        If the folder holds no record or a broken one.
    """
    path = Path(folder)
    try:
        header = json.loads((path / "run.json").read_text())
    except FileNotFoundError:
        raise ValueError(f"run folder must hold run.json, got {path}, which does not") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"run.json of {path} is broken: {error}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"run.json of {path} must have format {FORMAT}, got {header.get('format') if isinstance(header, dict) else header!r}")
    entries: dict[str, Mapping[str, Any]] = {}
    results = path / "results.jsonl"
    for line in results.read_bytes().splitlines() if results.exists() else ():
        try:
            entry = json.loads(line)
            entries[entry["key"]] = entry
        except (ValueError, RecursionError, KeyError, TypeError):
            continue
    return Record(path, header, entries)


def _plain(value: Any) -> Any:
    """Return a number or array as JSON: rationals as strings p/q, infinities by name."""
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, np.ndarray):
        return [_plain(x) for x in value.tolist()]
    if isinstance(value, list):
        return [_plain(x) for x in value]
    if isinstance(value, float) and not np.isfinite(value):
        return "inf" if value > 0 else "-inf"
    return value


def _number(value: Any) -> Any:
    if isinstance(value, str):
        return float(value) if value.lstrip("-") == "inf" else Fraction(value)
    if isinstance(value, list):
        return np.asarray([_number(x) for x in value], dtype=np.float64)
    return value


def _estimate_to_json(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": _plain(estimate.value), "lower": _plain(estimate.lower), "upper": _plain(estimate.upper),
        "failure": estimate.failure, "basis": str(estimate.basis),
    }


def _estimate_from_json(data: Mapping[str, Any]) -> Estimate:
    return Estimate(_number(data["value"]), _number(data["lower"]), _number(data["upper"]), data["failure"], Basis(data["basis"]))


def result_to_json(result: Result, *, with_seconds: bool = True) -> dict[str, Any]:
    """Return a result as plain JSON values."""
    comparisons = [
        {
            "instance": c.instance.to_json() if isinstance(c.instance, Instance) else {"name": str(c.instance), "params": {}},
            "left": _estimate_to_json(c.left), "right": _estimate_to_json(c.right),
            "claim": {"relation": c.claim.relation, "absolute": c.claim.slack.absolute, "relative": c.claim.slack.relative,
                      "quantifier": c.claim.quantifier, "alternative": c.claim.alternative},
            "verdict": str(c.verdict),
        }
        for c in result.comparisons
    ]
    return {
        "key": result.key, "verdict": str(result.verdict), "expected": str(result.expected), "claim_verdict": str(result.claim_verdict),
        "controls": {name: {"verdict": str(c.verdict), "required": str(c.required)} for name, c in result.controls.items()},
        "tightness": result.tightness, "sensitivity": result.sensitivity, "instances": result.instances, "alpha": result.alpha,
        "comparisons": comparisons, "error": result.error, **({"seconds": result.seconds} if with_seconds else {}),
    }


def result_from_json(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a result from its JSON form."""
    comparisons = tuple(
        Comparison(
            Instance(c["instance"]["name"], c["instance"]["params"]),
            _estimate_from_json(c["left"]),
            _estimate_from_json(c["right"]),
            Claim(c["claim"]["relation"], Slack(c["claim"]["absolute"], c["claim"]["relative"]), c["claim"]["quantifier"], c["claim"]["alternative"]),
        )
        for c in entry["comparisons"]
    )
    return {
        "key": entry["key"], "verdict": Verdict(entry["verdict"]), "expected": Verdict(entry["expected"]),
        "claim_verdict": Verdict(entry["claim_verdict"]),
        "controls": {name: {"verdict": Verdict(c["verdict"]), "required": Verdict(c["required"])} for name, c in entry["controls"].items()},
        "tightness": entry["tightness"], "sensitivity": entry["sensitivity"], "instances": entry["instances"], "alpha": entry["alpha"],
        "seconds": entry["seconds"], "comparisons": comparisons, "error": entry["error"],
    }
