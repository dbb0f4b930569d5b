"""Every Python block of the README and the documentation runs; every command named there exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name not in ("api.md", "catalogue.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[pytest.param]:
    return [
        pytest.param(text, id=f"{page.name}-{number}")
        for page in PAGES
        for number, (kind, text) in enumerate(BLOCK.findall(page.read_text()))
        if kind == language
    ]


@pytest.mark.parametrize("text", blocks("python"))
def test_python_blocks_run(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(text.replace("episodes=10_000", "episodes=200"), "block", "exec"), {"__name__": "block"})


@pytest.mark.parametrize("text", blocks("bash"))
def test_commands_exist_with_their_options(text):
    from typer.main import get_command

    from verify.cli import build_app

    root = get_command(build_app())
    for line in text.replace("\\\n", " ").splitlines():
        for command in re.findall(r"\blemmata ([^#&|;]*)", line):
            words = command.split()
            node = root
            while words and words[0] in getattr(node, "commands", {}):
                node = node.commands[words.pop(0)]
            assert not hasattr(node, "commands"), f"no such command: lemmata {command}"
            known = {option for parameter in node.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= known, f"unknown option in: lemmata {command}"


def test_the_site_builds(tmp_path):
    pytest.importorskip("myst_parser", reason="needs the extra [docs]")
    pytest.importorskip("furo", reason="needs the extra [docs]")
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-b", "html", ROOT / "docs", tmp_path / "site"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "ERROR" not in done.stderr
    text = (tmp_path / "site" / "api.html").read_text()
    for name in ("certify_curve", "worst_case", "eluder_dimension", "fixed_point", "maximise_cvar", "tabular_mdps"):
        assert name in text
    assert "policy_smoothing/G2" in (tmp_path / "site" / "catalogue.html").read_text()
