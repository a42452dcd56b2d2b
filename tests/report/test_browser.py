"""The page in a real browser: hostile text runs nothing, smuggled markup gets no script and no network."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mailwitness.report.document import read_report
from mailwitness.report.html import render_html
from mailwitness.report.pages.as_html import page_html
from mailwitness.report.pages.beside import Beside
from mailwitness.report.pages.counsel import counsel_page
from mailwitness.report.pages.handover import handover_page
from mailwitness.report.pages.manager import manager_page

from .report_examples import Json, hostile, realistic

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the path"
)

QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class Listener(ThreadingHTTPServer):
    """A server on this machine that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[str] = []


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Listener)
        self.server.asked.append(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def dom_of(page: str, folder: Path) -> str:
    """Return the document as it stands after a browser has loaded and run it."""
    assert CHROMIUM
    (folder / "page.html").write_text(page, encoding="utf-8")
    command = [
        CHROMIUM, *QUIET, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=3000", "--dump-dom",
        (folder / "page.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)
    return done.stdout


def console_of(page: str, folder: Path) -> list[str]:
    """Return what a browser complains of while it shows a page: errors, and what the policy stopped."""
    assert CHROMIUM
    (folder / "page.html").write_text(page, encoding="utf-8")
    command = [
        CHROMIUM, *QUIET, f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--virtual-time-budget=2000",
        "--dump-dom", (folder / "page.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def title_of(dom: str) -> str:
    found = re.search("<title>(.*?)</title>", dom)
    return found[1] if found else ""


def smuggled(server: Listener) -> str:
    """Return markup as it would look if escaping had failed."""
    here = f"http://127.0.0.1:{server.server_port}"
    return (
        "<script>document.title='owned'</script>"
        f"<img src='{here}/image' onerror=\"document.title='owned'\">"
        f"<link rel=stylesheet href='{here}/style'><script src='{here}/script'></script>"
        f"<iframe src='{here}/frame'></iframe><object data='{here}/object'></object>"
        f"<style>body {{ background: url({here}/background) }}</style>"
        f"<p style='background: url({here}/attribute)'>x</p><base href='{here}/'>"
    )


def test_a_hostile_report_runs_nothing(tmp_path: Path) -> None:
    dom = dom_of(render_html(hostile()), tmp_path)

    assert title_of(dom) == "Found: mailwitness report"


def test_our_own_script_runs_under_the_policy(tmp_path: Path) -> None:
    dom = dom_of(render_html(realistic()), tmp_path)

    assert dom.count('<button type="button">Copy</button>') == 12


def test_smuggled_markup_runs_nothing_and_reaches_no_network(tmp_path: Path, listener: Listener) -> None:
    page = render_html(realistic()).replace("<main>", f"<main>{smuggled(listener)}")

    dom = dom_of(page, tmp_path)

    assert title_of(dom) == "Found: mailwitness report"
    assert listener.asked == []


def test_without_the_policy_the_same_markup_would_run(tmp_path: Path, listener: Listener) -> None:
    """Shows that the test above can fail at all."""
    page = render_html(realistic()).replace("<main>", f"<main>{smuggled(listener)}")
    page = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)

    dom = dom_of(page, tmp_path)

    assert title_of(dom) == "owned"
    assert {"/image", "/style", "/script", "/frame"} <= set(listener.asked)


@pytest.mark.parametrize("example", [realistic, hostile])
def test_the_browser_has_nothing_to_complain_of(tmp_path: Path, example: Callable[[], Json]) -> None:
    report = read_report(example())
    pages = [page_html(page(report, Beside())) for page in (manager_page, handover_page, counsel_page)]

    for number, page in enumerate([render_html(example()), *pages]):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert console_of(page, folder) == []


def test_a_complaint_would_be_seen(tmp_path: Path, listener: Listener) -> None:
    page = render_html(realistic()).replace("<main>", f"<main>{smuggled(listener)}")

    assert console_of(page, tmp_path)
