"""The report: complete, offline, well-formed, and continued after an interruption."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from verify import run
from verify.pages import mathematics
from verify.report import build_report

pytestmark = pytest.mark.usefixtures("with_my_paper")


def quiet(keys, *, budget, jobs, seed, out, dask, quiet):
    return run(keys, budget=budget, seed=seed, out=out)


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src"):
                self.targets.append(value)
            if name == "id":
                self.anchors.add(value)


def parsed(page: Path) -> Links:
    links = Links()
    links.feed(page.read_text())
    return links


def test_the_report_is_whole_and_needs_no_network(tmp_path):
    build_report(tmp_path, keys=["my_paper"], jobs=1, certificate=False, runner=quiet)
    pages = sorted(tmp_path.glob("*.html"))
    assert [page.name for page in pages] == ["index.html", "my_paper.html"]
    for page in pages:
        for target in parsed(page).targets:
            if target.startswith(("data:", "https://arxiv.org/abs/")):
                continue
            assert not target.startswith("http")
            name, _, anchor = target.partition("#")
            assert (tmp_path / name).exists(), f"{page.name} links to {target}"
            assert not anchor or anchor in parsed(tmp_path / name).anchors
    text = (tmp_path / "my_paper.html").read_text()
    for part in ("<math", "nine tenths of the mean", "lemmata check my_paper/AM-GM", "refuted (ours)", "figures/my_paper-AM-GM.svg"):
        assert part in text
    for figure in (tmp_path / "figures").glob("*.svg"):
        ElementTree.parse(figure)
    assert "my_paper" in (tmp_path / "references.bib").read_text()


def test_an_interrupted_report_continues(tmp_path):
    def stop(*args, **kwargs):
        quiet(["my_paper/AM-GM"], budget=kwargs["budget"], jobs=1, seed=0, out=kwargs["out"], dask=None, quiet=True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_report(tmp_path, keys=["my_paper"], jobs=1, certificate=False, runner=stop)
    executed = []

    def counting(keys, **options):
        return run(keys, budget=options["budget"], seed=0, out=options["out"], progress=lambda key, result: executed.append(key) if result is None else None)

    build_report(tmp_path, keys=["my_paper"], jobs=1, certificate=False, runner=counting)
    assert executed == ["my_paper/AM-HM"]


def test_mathematics_becomes_mathml_and_prose_is_escaped():
    text = mathematics(r"If $x \le y$ & <so>")
    assert text.startswith("If <math")
    assert text.endswith("&amp; &lt;so&gt;")
