"""A small paper of the tests' own, announced the way a user's package announces one."""

from __future__ import annotations

from pathlib import Path

import pytest

MODULE = '''
"""A user's own paper: the arithmetic-geometric mean inequality, and a claim that is false."""

import math

from theory import Guarantee, Paper
from verify import Check, Claim, Control, Estimate, Instance, Slack, Verdict

PAPER = Paper("my_paper", "Means", "A. Reader, B. Writer", 2026)


def statement(key, text, status="derived", note=""):
    return Guarantee(f"my_paper/{key}", PAPER, key, "inequality", text, ("$a, b \\\\ge 0$",), status, "ours", note)


GUARANTEES = (
    statement("AM-GM", r"$\\sqrt{ab} \\le \\frac{a+b}{2}$"),
    statement("AM-HM", r"$\\frac{a+b}{2} \\le \\sqrt{ab}$", "refuted", "false unless $a = b$, for instance at (1, 4)"),
)


def instances(budget, seed):
    return [Instance(f"a={a}, b={b}", {"a": a, "b": b}) for a in (1.0, 2.0, 4.0) for b in (1.0, 3.0)]


def means(instance, seed):
    """The geometric mean on the left, the arithmetic mean on the right."""
    a, b = instance.params["a"], instance.params["b"]
    return Estimate.numeric(math.sqrt(a * b)), Estimate.numeric(0.5 * (a + b))


def swapped(instance, seed):
    """The two means with the sides exchanged."""
    return means(instance, seed)[::-1]


def shrunk(instance, seed):
    left, right = means(instance, seed)
    return left, Estimate.numeric(0.9 * right.value)


def figure(figure):
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label="equal means")
    axes.set_xlabel("a")
    axes.set_ylabel("b")
    axes.legend()


BOX = {"a": (0.1, 5.0), "b": (0.1, 5.0)}
TOLERANT = Claim("<=", Slack(1e-12))
CHECKS = (
    Check(GUARANTEES[0], TOLERANT, instances, means, (Control("nine tenths of the mean", shrunk),), figure, box=BOX),
    Check(GUARANTEES[1], TOLERANT, instances, swapped, (Control("the right way round", means, Verdict.HOLDS),), figure,
          expected=Verdict.VIOLATED, box=BOX),
)
'''


@pytest.fixture(scope="session")
def my_paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to put on the module search path: an installed distribution with one paper."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "my_paper.py").write_text(MODULE)
    info = folder / "my_paper-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-paper\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lemmata.guarantees]\nmy_paper = my_paper\n")
    return folder


@pytest.fixture
def with_my_paper(my_paper: Path, monkeypatch: pytest.MonkeyPatch):
    """The paper of the tests in this process's catalogue, and only for one test."""
    import sys

    from theory._catalogue import catalogue, paper_modules, papers
    from verify.registry import checks

    def forget() -> None:
        for function in (catalogue, paper_modules, papers, checks):
            function.cache_clear()

    monkeypatch.syspath_prepend(str(my_paper))
    forget()
    yield
    forget()
    sys.modules.pop("my_paper", None)
