"""The report in a real headless browser: no console errors, every figure loads, dark mode and a phone's width work."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from verify import run
from verify.report import build_report

BROWSER = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)

pytestmark = [pytest.mark.usefixtures("with_my_paper"), pytest.mark.skipif(BROWSER is None, reason="needs Chromium")]

PROBE = """
<script>
window.addEventListener("load", () => {
  const images = [...document.images].map(i => i.getAttribute("src") + ":" + (i.complete && i.naturalWidth > 0));
  const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth + 1;
  const maths = [...document.querySelectorAll("math")].every(m => m.getBoundingClientRect().width > 0);
  const ink = getComputedStyle(document.body).color, paper = getComputedStyle(document.body).backgroundColor;
  document.body.setAttribute("data-probe", JSON.stringify({images, wide, maths, ink, paper}));
});
</script>
"""


def open_page(page: Path, tmp_path: Path, *options: str) -> tuple[str, str]:
    """Return what the probe saw on a page and what the browser logged."""
    probed = page.with_name(f"probed-{page.name}")
    probed.write_text(page.read_text().replace("loading=\"lazy\"", "").replace("</body>", f"{PROBE}</body>"))
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--virtual-time-budget=5000", f"--user-data-dir={tmp_path / 'profile'}",
        *options, "--dump-dom", probed.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    probe = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert probe is not None, done.stderr[-2000:]
    console = "\n".join(line for line in done.stderr.splitlines() if ":CONSOLE" in line)
    return probe.group(1).replace("&quot;", '"'), console


@pytest.fixture
def report(tmp_path):
    def runner(keys, *, budget, jobs, seed, out, dask, quiet):
        return run(keys, budget=budget, seed=seed, out=out)

    build_report(tmp_path / "report", keys=["my_paper"], jobs=1, certificate=False, runner=runner)
    return tmp_path / "report"


def test_pages_load_whole_and_silently(report, tmp_path):
    import json

    for name in ("index.html", "my_paper.html"):
        text, console = open_page(report / name, tmp_path, "--window-size=1280,900")
        seen = json.loads(text)
        assert console == ""
        assert all(image.endswith(":true") for image in seen["images"])
        assert seen["maths"]
        assert not seen["wide"]
    assert len(seen["images"]) == 2


def test_a_phone_needs_no_sideways_scrolling_and_dark_mode_is_dark(report, tmp_path):
    import json

    seen = json.loads(open_page(report / "my_paper.html", tmp_path, "--window-size=500,900")[0])
    assert not seen["wide"]
    dark = json.loads(open_page(report / "my_paper.html", tmp_path, "--blink-settings=preferredColorScheme=0")[0])

    def brightness(colour: str) -> float:
        return sum(float(x) for x in re.findall(r"[\d.]+", colour)[:3])

    assert brightness(dark["paper"]) < 150 < brightness(dark["ink"])
