"""Explicit model files of PRISM and Storm: transitions (`.tra`), rewards (`.srew`, `.trew`, `.rew`) and labels (`.lab`).

Transitions start with a line of counts (PRISM: states, choices, transitions; two numbers for a chain) or with `mdp` or `dtmc` (Storm);
each further line is `state choice successor probability [name]`, without the choice for a chain.  Rewards of states are lines
`state reward`, rewards of transitions `state choice successor reward`; PRISM puts a line of counts first.  Labels are
`0="init" 1="goal"` and lines `state: 0 1` (PRISM), or names between `#DECLARATION` and `#END` and lines `state name ...` (Storm).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdps._errors import BrokenFile, ModelError
from mdps._validate import require_between, require_choice
from mdps.formats._files import lines_of, write_atomically
from mdps.models import TabularMDP

__all__ = ["read_labels", "read_prism", "to_prism"]

_PRISM_LABEL = re.compile(r'(\d+)="([^"]*)"')

_LARGEST_BLANK = 50
"""Rows of the stacked kernel per transition of the file beyond which a file is refused (one state with very many choices)."""


def read_prism(
    transitions: str | Path,
    *,
    rewards: str | Path | Iterable[str | Path] | None = None,
    labels: str | Path | None = None,
    terminal: str | None = None,
    discount: float | None = None,
    row_tolerance: float = 1e-9,
    max_bytes: int = 4 << 30,
) -> TabularMDP:
    """Return a model from explicit files of PRISM or Storm.

    Parameters
    ----------
    transitions : str or Path
        The `.tra` file of an MDP or a chain.
    rewards : path or several, optional
        Reward files; rewards of states and of transitions add up.  Without one all rewards are zero.
    labels : path, optional
        The `.lab` file; states labelled `init` share the initial distribution.
    terminal : str, optional
        A label whose states end the process.
    discount : float in (0, 1], optional
        Discount.
    row_tolerance : float
        Rows whose probabilities were printed with few digits are renormalised if they sum to 1 within this; rows further off are
        refused.
    max_bytes : int
        Refuse larger files.

    Returns
    -------
    TabularMDP
        Sparse; where states have different numbers of choices, the missing ones are masked.

    Raises
    ------
    BrokenFile
        If a file cannot be read; the message names file and line.
    """
    require_between("row_tolerance", row_tolerance, 0.0, 1e-2)
    source = Path(transitions)
    table = _Transitions(source, max_bytes)
    files = [rewards] if isinstance(rewards, str | Path) else list(rewards or ())
    named = read_labels(labels, max_bytes=max_bytes) if labels is not None else {}
    for name, states in named.items():
        if states.size and states.max() >= table.states:
            raise BrokenFile(labels, f"label {name!r} names state {int(states.max())}; the model has the states 0..{table.states - 1}")
    if terminal is not None and terminal not in named:
        raise ModelError(f"terminal must be one of the labels {', '.join(map(repr, named)) or '(none)'}, got {terminal!r}")
    initial = None
    if named.get("init", np.empty(0)).size:
        initial = np.bincount(named["init"], minlength=table.states) / named["init"].size
    try:
        return TabularMDP(
            table.kernel(row_tolerance),
            table.expected(files, max_bytes),
            discount=discount,
            initial=initial,
            action_mask=table.mask(),
            terminal=None if terminal is None else named[terminal],
        )
    except BrokenFile:
        raise
    except ModelError as error:
        raise BrokenFile(source, str(error)) from None


def read_labels(path: str | Path, *, max_bytes: int = 4 << 30) -> dict[str, NDArray[np.int64]]:
    """Return the states of each label of a `.lab` file of PRISM or Storm.

    Parameters
    ----------
    path : str or Path
        The file.
    max_bytes : int
        Refuse larger files.

    Returns
    -------
    dict
        Label to ascending states.

    Raises
    ------
    BrokenFile
        If the file cannot be read; the message names file and line.
    """
    source = Path(path)
    lines = lines_of(source, max_bytes)
    number, first = next(lines, (1, ""))
    found: dict[str, list[int]] = {}
    if first == "#DECLARATION":
        for number, text in lines:  # noqa: B007
            if text == "#END":
                break
            found |= {name: [] for name in text.split()}
        else:
            raise BrokenFile(source, "#DECLARATION has no #END", line=number)
        for number, text in lines:
            state, *names = text.split()
            for name in names:
                if name not in found:
                    raise BrokenFile(source, f"label {name!r} was not declared", line=number)
                found[name].append(_index(source, number, "state", state))
    else:
        declared = {key: name for key, name in _PRISM_LABEL.findall(first)}
        if not declared:
            raise BrokenFile(source, f'must start with labels such as 0="init" or with #DECLARATION, got {first[:40]!r}', line=number)
        found = {name: [] for name in declared.values()}
        for number, text in lines:
            state, colon, keys = text.partition(":")
            if not colon:
                raise BrokenFile(source, f"must be `state: label numbers`, got {text[:40]!r}", line=number)
            for key in keys.split():
                if key not in declared:
                    raise BrokenFile(source, f"label number {key!r} was not declared", line=number)
                found[declared[key]].append(_index(source, number, "state", state.strip()))
    return {name: np.unique(np.array(states, dtype=np.int64)) for name, states in found.items()}


def to_prism(mdp: TabularMDP, prefix: str | Path, *, dialect: str = "prism") -> tuple[Path, ...]:
    """Write a model as explicit files: transitions, transition rewards and, with an initial distribution, labels.

    Parameters
    ----------
    mdp : TabularMDP
        The model.
    prefix : str or Path
        Path without ending; `.tra`, `.trew` (Storm: `.trans.rew`) and `.lab` are appended.
    dialect : str
        "prism" or "storm".

    Returns
    -------
    tuple of Path
        The files written.  Probabilities are printed so that reading them gives the same floats; rewards are the expected ones.

    Raises
    ------
    ModelError
        If the dialect is unknown, or the initial distribution is not uniform on its support, which these files cannot say.
    OSError
        If a file cannot be written.
    """
    require_choice("dialect", dialect, ("prism", "storm"))
    base = Path(prefix)
    matrix = mdp.csr()
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    positive = matrix.data > 0
    rows, successors, p = rows[positive], matrix.indices[positive], matrix.data[positive]
    states, choices = rows // mdp.n_actions, _compact_choices(rows, mdp.n_actions)
    reward = mdp.expected_reward.ravel()[rows]
    used = np.unique(rows).size
    prism = dialect == "prism"
    header = f"{mdp.n_states} {used} {p.size}" if prism else "mdp"
    reward_header = [f"{mdp.n_states} {used} {p.size}"] if prism else []

    def text(first: list[str], values: NDArray[np.float64]) -> bytes:
        columns = zip(states.tolist(), choices.tolist(), successors.tolist(), values.tolist(), strict=True)
        return ("\n".join([*first, *(f"{s} {c} {j} {v!r}" for s, c, j, v in columns)]) + "\n").encode()

    files = {".tra": text([header], p), ".trew" if prism else ".trans.rew": text(reward_header, reward)}
    if mdp.initial is not None:
        support = np.flatnonzero(mdp.initial)
        if np.ptp(mdp.initial[support]) > 1e-12:
            raise ModelError("mdp.initial must be uniform on its support for explicit files, got other weights")
        if prism:
            lab = ['0="init" 1="deadlock"', *(f"{s}: 0" for s in support)]
        else:
            lab = ["#DECLARATION", "init deadlock", "#END", *(f"{s} init" for s in support)]
        files[".lab"] = ("\n".join(lab) + "\n").encode()
    paths = []
    for ending, content in files.items():
        path = base.with_name(base.name + ending)
        write_atomically(path, lambda stream, content=content: stream.write(content))  # type: ignore[misc]
        paths.append(path)
    return tuple(paths)


class _Transitions:
    """The transitions of a `.tra` file, checked line by line."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        lines = lines_of(path, max_bytes)
        number, first = next(lines, (1, ""))
        announced, chain = _header(path, number, first)
        self.chain = chain
        s, c, j, p, at = [], [], [], [], []
        width = 3 if chain else 4
        for number, text in lines:
            parts = text.split()
            if len(parts) < width or len(parts) > width + 1:
                raise BrokenFile(path, f"must have {width} columns and perhaps a name, got {text[:60]!r}", line=number)
            s.append(_index(path, number, "state", parts[0]))
            c.append(0 if chain else _index(path, number, "choice", parts[1]))
            j.append(_index(path, number, "successor", parts[width - 2]))
            p.append(_number(path, number, "probability", parts[width - 1]))
            at.append(number)
        if not s:
            raise BrokenFile(path, "has no transitions", line=number)
        self.state, self.choice, self.successor = (np.array(x, dtype=np.int64) for x in (s, c, j))
        self.probability, self.line = np.array(p), at
        self.states = announced[0] if announced else int(max(self.state.max(), self.successor.max())) + 1
        self._check(announced)
        self.actions = int(self.choice.max()) + 1
        self.row = self.state * self.actions + self.choice

    def kernel(self, tolerance: float) -> Any:
        """Return the stacked sparse kernel, rows renormalised where they are within `tolerance` of 1."""
        from scipy.sparse import csr_array

        totals = self._totals()
        # within 1e-9 the model itself reads the row as its exact renormalisation; the floats stay as they were printed
        printed = (np.abs(totals - 1.0) <= tolerance) & (np.abs(totals - 1.0) > 1e-9)
        data = self.probability / np.where(printed, totals, 1.0)[self.row]
        return csr_array((data, (self.row, self.successor)), shape=(self.states * self.actions, self.states))

    def _totals(self) -> NDArray[np.float64]:
        """Return the sum of the printed probabilities of each row (S*A,)."""
        return np.bincount(self.row, weights=self.probability, minlength=self.states * self.actions).astype(np.float64)

    def mask(self) -> NDArray[np.bool_] | None:
        """Return which choices exist, or None where all do."""
        mask = np.zeros(self.states * self.actions, dtype=bool)
        mask[self.row] = True
        return None if mask.all() else mask.reshape(self.states, self.actions)

    def expected(self, files: Iterable[str | Path], max_bytes: int) -> NDArray[np.float64]:
        """Return the expected reward (S, A) of all reward files together."""
        total = np.zeros(self.states * self.actions)
        exists = np.zeros(self.states * self.actions, dtype=bool)
        exists[self.row] = True
        place: dict[tuple[int, int], float] | None = None
        totals = self._totals()
        width = 3 if self.chain else 4
        for file in files:
            path = Path(file)
            for number, parts in _reward_lines(path, max_bytes, self.states):
                value = _number(path, number, "reward", parts[-1])
                state = _index(path, number, "state", parts[0])
                if state >= self.states:
                    raise BrokenFile(path, f"names state {state}; the model has the states 0..{self.states - 1}", line=number)
                if len(parts) == 2:
                    rows = slice(state * self.actions, (state + 1) * self.actions)
                    total[rows] += value * exists[rows]
                    continue
                if len(parts) != width:
                    kind = "a chain" if self.chain else "an MDP"
                    raise BrokenFile(path, f"must have 2 or {width} columns for rewards of {kind}, got {len(parts)}", line=number)
                choice = 0 if self.chain else _index(path, number, "choice", parts[1])
                successor = _index(path, number, "successor", parts[-2])
                if place is None:
                    place = dict(zip(zip(self.row.tolist(), self.successor.tolist(), strict=True), self.probability.tolist(), strict=True))
                row = state * self.actions + choice
                if choice >= self.actions or (row, successor) not in place:
                    raise BrokenFile(path, f"rewards the transition {state} {choice} {successor}, which does not exist", line=number)
                # the row stands for its renormalisation, and so do its rewards
                total[row] += value * place[row, successor] / totals[row]
        return total.reshape(self.states, self.actions)

    def _check(self, announced: tuple[int, ...]) -> None:
        count = self.state.size
        for name, values in (("state", self.state), ("successor", self.successor)):
            if values.max() >= self.states:
                bad = int(values.argmax())
                raise BrokenFile(self.path, f"names {name} {int(values[bad])}; the header allows 0..{self.states - 1}", line=self.line[bad])
        if announced and announced[-1] != count:
            raise BrokenFile(self.path, f"announces {announced[-1]} transitions and has {count}", line=1)
        if self.states > count:
            raise BrokenFile(self.path, f"has {self.states} states and only {count} transitions: some state has no way out", line=1)
        pairs = np.unique(np.stack([self.state, self.choice]), axis=1)
        if len(announced) == 3 and announced[1] != pairs.shape[1]:
            raise BrokenFile(self.path, f"announces {announced[1]} choices and has {pairs.shape[1]}", line=1)
        missing = np.flatnonzero(np.bincount(self.state, minlength=self.states) == 0)
        if missing.size:
            raise BrokenFile(self.path, f"gives state {int(missing[0])} no transition; add a loop for a deadlock")
        # choices of a state must be 0, 1, 2, ...: the pairs are sorted, so each is one more than the last, or 0 in a new state
        expected = np.arange(pairs.shape[1]) - np.searchsorted(pairs[0], pairs[0])
        if (pairs[1] != expected).any():
            bad = int(np.flatnonzero(pairs[1] != expected)[0])
            state, choice = int(pairs[0, bad]), int(pairs[1, bad])
            line = self.line[int(np.flatnonzero((self.state == state) & (self.choice == choice))[0])]
            raise BrokenFile(self.path, f"has choice {choice} in state {state} without choice {int(expected[bad])}", line=line)
        actions = int(self.choice.max()) + 1
        if self.states * actions > _LARGEST_BLANK * count + 1_000_000:
            raise BrokenFile(self.path, f"would need {self.states * actions} rows for {count} transitions: one state has {actions} choices")
        key = (self.state * actions + self.choice) * self.states + self.successor
        order = np.argsort(key, kind="stable")
        twice = np.flatnonzero(np.diff(key[order]) == 0)
        if twice.size:
            line = self.line[int(order[twice[0] + 1])]
            raise BrokenFile(self.path, "gives the same transition a second time", line=line)


def _header(path: Path, number: int, text: str) -> tuple[tuple[int, ...], bool]:
    """Return the announced counts (none in Storm's files) and whether the file is a chain."""
    kind = text.lower()
    if kind in ("mdp", "dtmc"):
        return (), kind == "dtmc"
    parts = text.split()
    if len(parts) not in (2, 3) or not all(part.isdigit() for part in parts):
        raise BrokenFile(path, f"must start with two or three counts, or with mdp or dtmc, got {text[:40]!r}", line=number)
    counts = tuple(_index(path, number, "count", part) for part in parts)
    if counts[0] < 1:
        raise BrokenFile(path, "must have at least one state", line=number)
    return counts, len(parts) == 2


def _reward_lines(path: Path, max_bytes: int, states: int) -> Iterable[tuple[int, list[str]]]:
    """Yield the lines of a reward file without PRISM's line of counts."""
    lines = lines_of(path, max_bytes)
    number, first = next(lines, (1, ""))
    parts = first.split()
    if not parts:
        return
    # a line of counts has one column less than transition rewards, or names a state beyond the last one
    held: list[tuple[int, list[str]]] = [(number, parts)]
    width = len(parts)
    for number, text in lines:
        parts = text.split()
        if held:
            before = held[0][1]
            is_header = len(parts) == len(before) + 1 or (len(before) == 2 and len(parts) == 2 and before[0] == str(states))
            width = len(parts)
            if not 2 <= width <= 4:
                raise BrokenFile(path, f"must have the 2 to 4 columns of a reward, got {width}", line=number)
            if not is_header:
                yield from _columns(path, *held[0], width)
            held = []
        yield from _columns(path, number, parts, width)
    if held and not (len(held[0][1]) in (2, 3) and held[0][1][0] == str(states)):
        yield from _columns(path, *held[0], width)


def _columns(path: Path, number: int, parts: list[str], width: int) -> Iterable[tuple[int, list[str]]]:
    if len(parts) != width or width not in (2, 3, 4):
        raise BrokenFile(path, f"must have the {width} columns of its first line (2 to 4), got {len(parts)}", line=number)
    yield number, parts


def _index(path: Path, number: int, name: str, text: str) -> int:
    if not text.isdigit() or len(text) > 15:
        raise BrokenFile(path, f"{name} must be a whole number >= 0, got {text[:30]!r}", line=number)
    return int(text)


def _number(path: Path, number: int, name: str, text: str) -> float:
    """Return a decimal or a fraction such as 1/3."""
    convert: Callable[[str], float] = (lambda t: float(Fraction(t))) if "/" in text and len(text) < 60 else float
    try:
        if "_" in text:  # Python's digit groups are no numbers of these files
            raise ValueError
        value = convert(text)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise BrokenFile(path, f"{name} must be a number, got {text[:30]!r}", line=number) from None
    if not math.isfinite(value) or (name == "probability" and not 0.0 <= value <= 1.0 + 1e-9):
        allowed = "in [0, 1]" if name == "probability" else "finite"
        raise BrokenFile(path, f"{name} must be {allowed}, got {text[:30]!r}", line=number)
    return value


def _compact_choices(rows: NDArray[np.int64], actions: int) -> NDArray[np.int64]:
    """Return the number of each row's choice among those of its state that exist."""
    unique, back = np.unique(rows, return_inverse=True)
    states = unique // actions
    return np.asarray((np.arange(unique.size) - np.searchsorted(states, states))[back])
