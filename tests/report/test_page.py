"""The report's page as text: what it says, that it is sound HTML, and that nothing leaves or enters it."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest

from ferroloop._report.page import placeholder, render
from ferroloop._report.record import Frame, Point, SlowGroup, StallGroup
from ferroloop._report.text import count, duration, escaped, moment, percent, plural
from support.reports import STACK, loop_record, report

#: A file's name may hold anything but a slash; a byte that is no UTF-8 arrives as such a surrogate.
FILE = 'a"><script>\udcff.html'

pytestmark = pytest.mark.ours_only("asyncio writes no page")

VOID = {"meta", "br", "link", "img", "hr", "path", "rect"}
EVIL = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x00\ud800\u202e"


class Page(HTMLParser):
    """Reads a page as a browser would; fails on an element that is not closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}


def test_the_page_says_what_stalled_the_loop_and_where() -> None:
    text = Page(render(report())).text
    assert "2 stalls held the loop up for 1.21 s in all." in text
    assert "The longest took 610 ms: Service.handle() at orders.py:33." in text
    assert "rows = database.execute(QUERY).fetchall()" in text


def test_the_page_shows_all_that_is_known() -> None:
    text = Page(render(report())).text
    for shown in (
        "service.py",
        "Process 4711",
        "SIGTERM ended it",
        "Utilisation, 37 % on average",
        "Longest turn, at most 610 ms",
        "Callbacks of 100 ms or more",
        "('10.0.0.7', 53211)",
        "Where the time went",
        "Echo.data_received()",
        "99.9 %",
        "What it had open at 91.5 s",
        "connections",
        "Service.handle",
        "db.internal",
    ):
        assert shown in text, shown


def test_the_page_needs_nothing_from_outside() -> None:
    page = Page(render(report(others=("page.12.html",))))
    assert not page.tags() & {"script", "link", "img", "iframe", "object", "embed", "base"}
    named = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}
    ]
    assert named == ["./page.12.html"]
    assert not re.search(r"@import|url\(|https?:", render(report()))


def test_what_comes_from_the_program_is_shown_and_never_read_as_html() -> None:
    stack = (Frame(EVIL, 1, EVIL, EVIL, False),)
    loop = loop_record(
        name=EVIL,
        stalls=(StallGroup(EVIL, 1, 0.6, 0.6, 1.0, 1.0, stack),),
        slow=(SlowGroup(EVIL, 1, 0.6, 0.6, EVIL),),
    )
    plain = Page(render(report(loop, loop)))
    loop = replace(loop, name="x", stalls=(), slow=())
    page = render(report(loop, loop, program=EVIL, versions=EVIL, others=(FILE,)))
    assert "<script" not in page
    assert 'href="./a%22%3E%3Cscript%3E%FF.html"' in page
    assert not plain.tags() & {"script", "img"}
    assert plain.text.count("<script>alert(1)</script>") >= 6
    for text in (page, render(report(loop_record(name=EVIL)))):
        text.encode("utf-8")
        assert not set("\x00\u202e") & set(text)


def test_every_field_of_a_record_may_be_empty() -> None:
    nothing = loop_record(
        points=(),
        marks=(),
        stalls=(),
        slow=(),
        shares=(),
        turn=None,
        delay=None,
        open=None,
        busy=0.0,
    )
    text = Page(render(report(nothing))).text
    assert "No callback held a loop up for 250 ms or longer." in text
    assert "The loop ran too short a time for a time line." in text
    unwatched = Page(render(report(replace(nothing, stall_after=None, slow_after=None)))).text
    assert "Stalls were not looked for." in unwatched
    assert "No event loop of ferroloop ran" in Page(render(replace(report(), loops=()))).text
    assert {field.name for field in fields(nothing)} >= {"points", "stalls", "open"}


def test_several_loops_have_a_table_with_links() -> None:
    page = Page(render(report(loop_record(), loop_record(name="Loop 2"), more_loops=3)))
    anchors = {attributes.get("id") for _, attributes in page.elements}
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert links == ["#loop-0", "#loop-1"]
    assert {link[1:] for link in links if link} <= anchors
    assert "3 further loops left out." in page.text


def test_the_time_line_stays_within_its_frame() -> None:
    points = (
        Point(0.0, 0.0, 0, 0.0, 0.0),
        Point(0.0, 1.0, 1, 3600.0, 1e-9),
        Point(1e-9, 0.5, 1, float("inf"), 0.5),
    )
    for loop in (loop_record(), loop_record(points=points, marks=((-5.0, 1.0), (1e9, 1e9)))):
        page = render(report(loop))
        assert "nan" not in page.lower().replace("finance", "")
        for x, width in re.findall(r'<rect[^>]* x="([^"]+)"[^>]* width="([^"]+)"', page):
            assert float(x) >= 0.0 and float(x) + float(width) <= 1000.2
        for path in re.findall(r' d="([^"]+)"', page):
            assert all(0.0 <= float(number) <= 1000.0 for number in re.findall(r"[\d.]+", path))


def test_a_stall_within_a_library_names_the_library_s_line_and_without_a_stack_none() -> None:
    library = tuple(frame._replace(library=True) for frame in STACK)
    stalls = (StallGroup("x", 1, 0.6, 0.6, 1.0, 1.0, library),)
    assert "at orders.py:33" in Page(render(report(loop_record(stalls=stalls)))).text
    none = (StallGroup("x", 1, 0.6, 0.6, 1.0, 1.0, ()),)
    assert "No stack." in Page(render(report(loop_record(stalls=none)))).text


def test_the_placeholder_says_who_writes_the_page() -> None:
    page = Page(placeholder(EVIL, 4711, "today"))
    assert "when process 4711 ends" in page.text
    assert "script" not in page.tags()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (-1.0, "0 s"),
        (0.000_000_4, "0.4 µs"),
        (0.000_85, "850 µs"),
        (0.012_34, "12.3 ms"),
        (0.999_9, "1000 ms"),
        (1.0, "1 s"),
        (99.0, "99 s"),
        (100.0, "1 min 40 s"),
        (7_322.0, "2 h 2 min"),
        (float("nan"), "?"),
        (float("inf"), "?"),
    ],
)
def test_durations_have_a_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_other_figures_are_written_for_people() -> None:
    assert [moment(1.234, 5.0), moment(1.234, 50.0), moment(187.0, 200.0)] == [
        "1.23 s",
        "1.2 s",
        "3:07",
    ]
    assert moment(3_760.0, 1e5) == "1:02:40"
    assert [percent(share) for share in (0.0, 0.004, 0.0994, 0.5, 1.0)] == [
        "0 %",
        "0.4 %",
        "9.9 %",
        "50 %",
        "100 %",
    ]
    assert count(1_234_567) == "1\u202f234\u202f567"
    assert [plural(1, "stall"), plural(2, "stall")] == ["1 stall", "2 stalls"]
    assert escaped("x" * 10, limit=3) == "xxx …"
