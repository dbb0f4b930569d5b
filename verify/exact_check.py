"""Finished comparisons as exact rationals, and the small checker that decides them again.

The checker uses the standard library alone: `python -m verify.exact_check FILE` needs none of the numerical code, so that nobody
has to trust it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verify.runner import Result

__all__ = ["check_export", "export_comparisons"]

FORMAT = 1


def _rational(value: Any) -> Any:
    """Return a number, or nested numbers, as strings p/q; every finite float is a rational."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_rational(x) for x in value]
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    exact = Fraction(value)
    return f"{exact.numerator}/{exact.denominator}"


def export_comparisons(result: Result) -> dict[str, Any]:
    """Return the comparisons of a result as exact rationals with the inequality to check.

    Parameters
    ----------
    result : Result
        What `verify.run` or `verify.runner.run_check` returned.

    Returns
    -------
    dict
        JSON values; the limits of both sides as strings `p/q`, flattened, with the relation, the slack and the verdict.
    """
    rows = []
    for c in result.comparisons:
        sides = {
            f"{name}_{end}": _rational(getattr(getattr(c, name), end)) for name in ("left", "right") for end in ("value", "lower", "upper")
        }
        slack = c.claim.slack
        rows.append({
            "instance": getattr(c.instance, "name", str(c.instance)), "relation": c.claim.relation, "absolute": _rational(slack.absolute),
            "relative": _rational(slack.relative), "alternative": None if c.claim.alternative is None else _rational(c.claim.alternative),
            "verdict": str(c.verdict), **sides,
        })
    return {"lemmata-export": FORMAT, "key": result.key, "comparisons": rows}


def _numbers(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [x for item in value for x in _numbers(item)]
    return [float(value) if value.lstrip("-") == "inf" else Fraction(value)]


def _decide(row: Mapping[str, Any]) -> str:
    """Return the verdict on one exported comparison, by the rules printed here and nothing else."""
    columns = {name: _numbers(row[name]) for name in ("left_lower", "left_upper", "right_value", "right_lower", "right_upper")}
    size = max(len(column) for column in columns.values())
    columns = {name: column * size if len(column) == 1 else column for name, column in columns.items()}
    absolute, relative = Fraction(row["absolute"]), Fraction(row["relative"])
    factor = None if row["alternative"] is None else Fraction(row["alternative"])
    violated, holds = False, True
    for i in range(size):
        low, high, value, bound_low, bound_high = (columns[n][i] for n in ("left_lower", "left_upper", "right_value", "right_lower", "right_upper"))
        slack = absolute + (relative * abs(value) if relative and abs(value) != float("inf") else 0)
        below = high <= bound_low + slack if factor is None else high < factor * bound_low
        above = low >= bound_high - slack if factor is None else factor * low > bound_high
        if row["relation"] == "<=":
            violated |= low > bound_high + slack
            holds &= below
        elif row["relation"] == ">=":
            violated |= high < bound_low - slack
            holds &= above
        elif row["relation"] == "==":
            violated |= low > bound_high + slack or high < bound_low - slack
            holds &= high <= bound_low + slack and low >= bound_high - slack
        else:
            violated |= high < bound_low - slack or low > bound_high + slack
            holds &= low >= bound_low - slack and high <= bound_high + slack
    return "violated" if violated else "holds" if holds else "inconclusive"


def check_export(data: Mapping[str, Any]) -> list[str]:
    """Decide every exported comparison again in exact arithmetic.

    Parameters
    ----------
    data : mapping
        What `export_comparisons` returned, possibly read from a file.

    Returns
    -------
    list of str
        One line for each comparison whose verdict differs from the stored one; empty if all agree.

    Raises
    ------
    ValueError
        If the data is not an export of this format.
    """
    if data.get("lemmata-export") != FORMAT:
        raise ValueError(f"file must be an export of format {FORMAT}, got {data.get('lemmata-export')!r}")
    wrong = []
    for number, row in enumerate(data["comparisons"]):
        verdict = _decide(row)
        if verdict != row["verdict"]:
            wrong.append(f"comparison {number} ({row['instance']}): stored {row['verdict']}, exact arithmetic says {verdict}")
    return wrong


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        contents = json.load(file)
    differences = check_export(contents)
    print("\n".join(differences) or f"all {len(contents['comparisons'])} comparisons of {contents['key']} decided alike")
    sys.exit(1 if differences else 0)
