"""The report's page as a browser shows it: light and dark, from phones to wide screens."""

from __future__ import annotations

import pathlib
import re
import shutil
import struct
import subprocess
import zlib

import pytest

from ferroloop._report.page import render
from ferroloop._report.record import Frame, SlowGroup, StallGroup
from support.reports import loop_record, report

NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)

pytestmark = [
    pytest.mark.ours_only("asyncio writes no page"),
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason=f"no Chromium found; looked for {', '.join(NAMES)}"),
]

#: What a page must fit into: words without a place to break, deep paths, many digits.
LONG = "a_very_long_name_without_any_place_to_break_it_" * 4


def browse(folder: pathlib.Path, *options: str) -> str:
    """Run the browser on `folder / "look.html"` and return what it prints."""
    assert BROWSER is not None
    finished = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            "--allow-file-access-from-files",
            f"--user-data-dir={folder / 'profile'}",
            *options,
            (folder / "look.html").as_uri(),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=25,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def first_pixel(png: bytes) -> tuple[int, ...]:
    """The colour of the upper left corner: the first pixel of a picture is stored as it is."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    depth, kind = png[24], png[25]
    assert (depth, kind) in {(8, 2), (8, 6)}
    data, position = b"", 8
    while position < len(png):
        (length,) = struct.unpack(">I", png[position : position + 4])
        if png[position + 4 : position + 8] == b"IDAT":
            data += png[position + 8 : position + 8 + length]
        position += length + 12
    return tuple(zlib.decompress(data)[1:4])


@pytest.mark.parametrize(
    ("scheme", "colour"), [("light", (0xF6, 0xF7, 0xF8)), ("dark", (0x12, 0x15, 0x18))]
)
def test_the_page_follows_the_reader_s_colour_scheme(
    tmp_path: pathlib.Path, scheme: str, colour: tuple[int, ...]
) -> None:
    (tmp_path / "look.html").write_text(render(report()), encoding="utf-8")
    browse(
        tmp_path,
        f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
        "--window-size=400,600",
        f"--screenshot={tmp_path / 'look.png'}",
    )
    assert first_pixel((tmp_path / "look.png").read_bytes()) == colour


MEASURE = """<!DOCTYPE html><iframe src="page.html" id="frame"></iframe><pre id="found"></pre><script>
frame.onload = () => {
    const found = [];
    for (const width of [320, 390, 768, 1400]) {
        frame.style.width = width + "px"; frame.style.border = "0";
        const page = frame.contentDocument, seen = page.defaultView;
        let smallest = 100;
        for (const element of page.body.querySelectorAll("*")) {
            if ([...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
                smallest = Math.min(smallest, parseFloat(seen.getComputedStyle(element).fontSize));
        }
        const drawings = [...page.querySelectorAll("svg")].map((svg) => svg.clientHeight);
        found.push([width, page.documentElement.scrollWidth, smallest, Math.min(...drawings)].join(" "));
    }
    document.getElementById("found").textContent = found.join("\\n");
};
</script>"""


def test_the_page_fits_every_width_in_letters_that_can_be_read(tmp_path: pathlib.Path) -> None:
    stack = (Frame(f"/{LONG}/{LONG}.py", 10**6, LONG, f"{LONG}({LONG})", False),)
    loop = loop_record(
        name=LONG,
        stalls=(StallGroup(LONG, 10**6, 1e5, 1e4, 1.0, 90.0, stack),),
        slow=(SlowGroup(LONG, 10**9, 1e5, 1e4, LONG),),
    )
    page = render(report(loop, loop, program=LONG, others=(f"{LONG}.html",)))
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    (tmp_path / "look.html").write_text(MEASURE, encoding="utf-8")
    dom = browse(tmp_path, "--dump-dom", "--virtual-time-budget=5000")
    found = re.search(r'id="found">(.*?)</pre>', dom, re.DOTALL)
    assert found and found[1], dom[-2000:]
    for line in found[1].splitlines():
        width, needed, smallest_letters, lowest_drawing = map(float, line.split())
        assert needed <= width, line
        assert smallest_letters >= 10.5, line
        assert lowest_drawing >= 60.0, line
