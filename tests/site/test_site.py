"""The documentation site builds without a warning and can be read: light, dark, on a desktop, on a phone.

Skipped where the dependency group `docs` is not installed, or no Chromium is found. `nox -s docs`
builds the site first and names its folder in FERROLOOP_SITE.
"""

from __future__ import annotations

import functools
import html.parser
import http.server
import importlib.util
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import ferroloop

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    for name in ("sphinx", "furo", "myst_parser"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install --group docs")
    if built := os.environ.get("FERROLOOP_SITE"):
        return ROOT / built
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    finished = subprocess.run(
        [*command, str(ROOT / "docs"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return folder


class _Page(html.parser.HTMLParser):
    """Collects a page's links and what they may lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.places.add(found.get("id") or "")
        link = found.get("href") if tag in ("a", "link") else found.get("src")
        if link:
            self.links.append(link)


def test_every_link_on_the_site_resolves(site: Path) -> None:
    pages = {
        path.resolve(): _Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")
    }
    broken = []
    for path, page in pages.items():
        for link in page.links:
            address = urllib.parse.urlsplit(link)
            if address.scheme or link.startswith("data:"):
                continue
            name = urllib.parse.unquote(address.path)
            target = (path.parent / name).resolve() if name else path
            place = urllib.parse.unquote(address.fragment)
            known = pages[target].places if target in pages else {place}
            if not target.exists() or place not in known:
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


def test_every_page_is_on_the_site(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    assert not [page for page in pages if not (site / page).with_suffix(".html").exists()]


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    places = set().union(
        *(_Page(path.read_text(encoding="utf-8")).places for path in site.glob("api/*.html"))
    )
    assert not {f"ferroloop.{name}" for name in ferroloop.__all__} - places


def test_the_contents_name_no_page_twice(site: Path) -> None:
    class Sidebar(html.parser.HTMLParser):
        found: ClassVar[list[str]] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            link = dict(attrs)
            if tag == "a" and link.get("class") == "reference internal":
                self.found.append(str(link["href"]))

    text = (site / "index.html").read_text(encoding="utf-8")
    Sidebar().feed(text[text.index('class="sidebar-tree"') : text.index('class="main"')])
    assert len(Sidebar.found) > 20
    assert sorted(set(Sidebar.found)) == sorted(Sidebar.found)


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the site, the page that looks at it, and takes that page's report."""

    def __init__(
        self, *args: Any, reports: queue.Queue[Any], pages: list[str], **named: Any
    ) -> None:
        self.reports = reports
        self.pages = pages
        super().__init__(*args, **named)

    def do_GET(self) -> None:
        if self.path == "/pages.json":
            self.answer(json.dumps(self.pages), "application/json")
        elif self.path == "/look.html":
            page = Path(__file__).with_name("look.html")
            self.answer(page.read_text(encoding="utf-8"), "text/html")
        else:
            super().do_GET()

    def do_POST(self) -> None:
        self.reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer("", "text/plain")

    def answer(self, text: str, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def report(site: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What a headless Chromium found on every page, in both themes and two widths."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no Chromium on PATH: looked for {', '.join(BROWSERS)}")
    reports: queue.Queue[Any] = queue.Queue()
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    pages = [page for page in pages if page not in ("search.html", "genindex.html")]
    handler = functools.partial(_Handler, reports=reports, pages=pages, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        process = subprocess.Popen(
            [
                browser,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--window-size=1400,1000",
                f"--user-data-dir={tmp_path}",
                "--remote-debugging-port=0",  # without it, a headless Chromium ends after one page load
                f"http://127.0.0.1:{server.server_port}/look.html",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield {**reports.get(timeout=240), "pages": pages}
        finally:
            process.terminate()
            process.wait(30)
            server.shutdown()


def test_every_page_can_be_read_in_light_and_dark_wide_and_narrow(report: dict[str, Any]) -> None:
    assert report["found"] == []
    assert report["looked"] == 4 * len(report["pages"])
