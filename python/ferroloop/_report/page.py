"""The whole page: HTML that needs no network, no script and no other file. Pure functions; any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from ferroloop._report.frames import own_frame
from ferroloop._report.style import STYLE
from ferroloop._report.text import count, duration, escaped, moment, percent, plural
from ferroloop._report.timeline import timeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ferroloop._report.record import (
        Distribution,
        Frame,
        LoopRecord,
        Open,
        Report,
        Share,
        SlowGroup,
        StallGroup,
    )

__all__ = ("placeholder", "render")

#: How many stalls show their stacks without a click.
_UNFOLDED = 3


def render(report: Report) -> str:
    """Return the page of a process."""
    several = len(report.loops) > 1
    body = [
        "<header>",
        f"<h1>{escaped(report.program)}</h1>",
        f'<p class="soft">Process {report.pid}, began {escaped(report.began)}, ran '
        f"{duration(report.seconds)}; {escaped(report.ending)}. {escaped(report.versions)}</p>",
        f'<p class="verdict">{_verdict(report.loops)}</p>',
        _other_pages(report),
        "</header><main>",
        _overview(report) if several else "",
        *(_loop(loop, number, report) for number, loop in enumerate(report.loops)),
        "</main>",
        "<footer><p>Written by ferroloop. The figures begin when the loop was made. A stall is one "
        "callback, or one call of a protocol, that held the loop up.</p></footer>",
    ]
    return _document(f"{report.program}: ferroloop's report", "".join(body))


def placeholder(program: str, pid: int, began: str) -> str:
    """Return the text of the file until the process has ended."""
    text = (
        f"<header><h1>{escaped(program)}</h1><p>This page is written when process {pid} ends, which "
        f"began {escaped(began)}. If that process is gone, something killed it before it could "
        "write.</p></header>"
    )
    return _document(f"{program}: ferroloop's report", text)


def _document(title: str, body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escaped(title)}</title><style>\n{STYLE}</style></head>\n<body>{body}</body></html>\n"
    )


def _verdict(loops: Sequence[LoopRecord]) -> str:
    """The page in a sentence: how often loops were blocked, and by what for the longest time."""
    if not loops:
        return "No event loop of ferroloop ran in this process."
    if all(loop.stall_after is None for loop in loops):
        return "Stalls were not looked for."
    number = sum(_stalls(loop) for loop in loops)
    if not number:
        limit = min(loop.stall_after for loop in loops if loop.stall_after is not None)
        return f"No callback held a loop up for {duration(limit)} or longer."
    longest = max(
        (group for loop in loops for group in loop.stalls), key=lambda group: group.longest
    )
    place = _place(longest.stack)
    what = f"<code>{escaped(longest.what, 300)}</code>" if longest.what else "a callback"
    return (
        f'<span class="bad">{plural(number, "stall")}</span> held {_whom(loops)} up for '
        f"{duration(sum(group.seconds for loop in loops for group in loop.stalls))} in all. "
        f"The longest took {duration(longest.longest)}: {what}{f' at {place}' if place else ''}."
    )


def _whom(loops: Sequence[LoopRecord]) -> str:
    return "the loop" if len(loops) == 1 else "the loops"


def _stalls(loop: LoopRecord) -> int:
    return sum(group.count for group in loop.stalls) + loop.more_stalls


def _longest(loop: LoopRecord) -> float:
    return max((group.longest for group in loop.stalls), default=0.0)


def _place(stack: Sequence[Frame]) -> str:
    """Where the program's own code was, innermost: file and line."""
    frame = own_frame(stack)
    if frame is None:
        return ""
    return f"<code>{escaped(frame.filename.rpartition('/')[2])}:{frame.line}</code>"


def _other_pages(report: Report) -> str:
    if not report.others:
        return ""
    links = ", ".join(
        f'<a href="{escaped(_as_link(name))}">{escaped(name)}</a>' for name in report.others
    )
    return f'<p class="soft">Pages of other processes: {links}</p>'


def _as_link(name: str) -> str:
    """A file's name as a link of the same folder."""
    return "./" + quote(name.encode("utf-8", "surrogateescape"))


def _overview(report: Report) -> str:
    """A row for each of several loops."""
    rows = [
        (
            f'<a href="#loop-{number}">{escaped(loop.name)}</a>',
            duration(loop.ended - loop.began),
            percent(loop.busy),
            str(_stalls(loop)),
            duration(_longest(loop)),
        )
        for number, loop in enumerate(report.loops)
    ]
    more = ""
    if report.more_loops:
        more = f'<p class="note">{plural(report.more_loops, "further loop")} left out.</p>'
    heads = ("Loop", "ran", "busy", "stalls", "longest")
    return f'<section class="card"><h3>Loops</h3>{_table(heads, rows)}{more}</section>'


def _loop(loop: LoopRecord, number: int, report: Report) -> str:
    span = report.seconds
    lived = f"from {moment(loop.began, span)} to {moment(loop.ended, span)}, {escaped(loop.state)}"
    return "".join(
        (
            f'<section><h2 id="loop-{number}">{escaped(loop.name)} <small>{lived}</small></h2>',
            _tiles(loop),
            f'<div class="card"><h3>Time line{_legend(loop)}</h3>{timeline(loop)}</div>',
            _stall_card(loop, span),
            _slow_card(loop),
            _share_card(loop),
            '<div class="columns">',
            _distribution_card(loop),
            _open_card(loop.open, span),
            "</div></section>",
        )
    )


def _tiles(loop: LoopRecord) -> str:
    tiles = [(percent(loop.busy), "of the time busy")]
    if loop.stall_after is not None:
        bad = _stalls(loop)
        number = f'<span class="bad">{count(bad)}</span>' if bad else "0"
        tiles.append((number, f"stalls over {duration(loop.stall_after)}"))
        tiles.append((duration(_longest(loop)), "longest stall"))
    for distribution, what in ((loop.turn, "turns"), (loop.delay, "delays")):
        shown = dict(distribution.percentiles) if distribution is not None else {}
        if distribution is not None and distribution.count and 99.0 in shown:  # noqa: PLR2004
            tiles.append((duration(shown[99.0]), f"99 % of {what} are shorter"))
    tiles.append((count(loop.callbacks), f"callbacks in {plural(loop.turns, 'turn')}"))
    cells = "".join(
        f'<div class="tile"><b>{value}</b><span>{what}</span></div>' for value, what in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _legend(loop: LoopRecord) -> str:
    if not loop.marks:
        return ""
    return ' <small><i class="key stall"></i>stalls</small>'


def _stall_card(loop: LoopRecord, span: float) -> str:
    if loop.stall_after is None:
        return ""
    if not loop.stalls:
        text = f'<p class="note">None took {duration(loop.stall_after)} or longer.</p>'
    else:
        text = "".join(
            _stall_group(group, span, unfolded=number < _UNFOLDED)
            for number, group in enumerate(loop.stalls)
        )
        if loop.more_stalls:
            text += f'<p class="note">{plural(loop.more_stalls, "stall")} at further places.</p>'
    return f'<div class="card"><h3>Stalls</h3>{text}</div>'


def _stall_group(group: StallGroup, span: float, *, unfolded: bool) -> str:
    place = _place(group.stack)
    times = (
        f"at {moment(group.first, span)}"
        if group.count == 1
        else f"{plural(group.count, 'stall')}, longest {duration(group.longest)}, from "
        f"{moment(group.first, span)} to {moment(group.last, span)}"
    )
    head = (
        f'<span class="bad">{duration(group.seconds)}</span> {place} '
        f'<span class="soft">{times}</span>'
    )
    what = f'<p class="soft mono">{escaped(group.what)}</p>' if group.what else ""
    frames = "".join(_frame(frame) for frame in group.stack)
    stack = f'<ol class="stack">{frames}</ol>' if frames else '<p class="note">No stack.</p>'
    return f"<details{' open' if unfolded else ''}><summary>{head}</summary>{what}{stack}</details>"


def _frame(frame: Frame) -> str:
    kind = ' class="library"' if frame.library else ""
    code = f"<code>{escaped(frame.code, 500)}</code>" if frame.code else ""
    where = f"{escaped(frame.filename)}:{frame.line}"
    return f'<li{kind}><span class="mono">{where}</span> in {escaped(frame.name, 300)}{code}</li>'


def _slow_card(loop: LoopRecord) -> str:
    if loop.slow_after is None:
        return ""
    title = f"Callbacks of {duration(loop.slow_after)} or more"
    if not loop.slow:
        return f'<div class="card"><h3>{title}</h3><p class="note">None.</p></div>'
    rows = [_slow_row(group) for group in loop.slow]
    table = _table(("Callback", "calls", "longest", "in all"), rows)
    return f'<div class="card"><h3>{title}</h3>{table}</div>'


def _slow_row(group: SlowGroup) -> Sequence[str]:
    peer = f"<small>longest with {escaped(group.peer, 200)}</small>" if group.peer else ""
    name = f"<code>{escaped(group.name, 500)}</code>{peer}"
    return name, count(group.count), duration(group.longest), duration(group.seconds)


def _share_card(loop: LoopRecord) -> str:
    if not loop.shares:
        return ""
    total = max(share.seconds for share in loop.shares) or 1.0
    rows = [_share_row(share, total) for share in loop.shares]
    table = _table(("Callback", "calls", "each", "in all"), rows)
    return f'<div class="card"><h3>Where the time went</h3>{table}</div>'


def _share_row(share: Share, most: float) -> Sequence[str]:
    width = f"{100.0 * share.seconds / most:.1f}%"
    bar = f'<span class="bar"><i style="width:{width}"></i></span>'
    each = duration(share.seconds / share.calls) if share.calls else "?"
    name = f"<code>{escaped(share.name, 500)}</code>{bar}"
    return name, count(share.calls), each, duration(share.seconds)


def _distribution_card(loop: LoopRecord) -> str:
    known = [
        (title, distribution)
        for title, distribution in (("turns", loop.turn), ("delays", loop.delay))
        if distribution is not None and distribution.count
    ]
    if not known:
        return ""
    heads = ("", *(title for title, _ in known))
    rows = _distribution_table([distribution for _, distribution in known])
    note = (
        '<p class="note">A turn runs the callbacks that were ready when it began. A delay is how late a due '
        "timer or a queued callback began.</p>"
    )
    return f'<div class="card"><h3>Turns and delays</h3>{_table(heads, rows)}{note}</div>'


def _distribution_table(known: Sequence[Distribution]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("counted", *(count(one.count) for one in known))]
    rows.append(("mean", *(duration(one.mean) for one in known)))
    for place, (percentile, _) in enumerate(known[0].percentiles):
        values = (duration(one.percentiles[place][1]) for one in known)
        rows.append((f"{percentile:g} %", *values))
    rows.append(("longest", *(duration(one.longest) for one in known)))
    return rows


def _open_card(opened: Open | None, span: float) -> str:
    if opened is None:
        return ""
    parts = [
        "<dl>",
        *(f"<dt>{escaped(name)}</dt><dd>{count(number)}</dd>" for name, number in opened.counts),
        "</dl>",
    ]
    if opened.tasks:
        rows = [
            (f"<code>{escaped(name, 300)}</code>", count(number)) for name, number in opened.tasks
        ]
        parts += ["<br>", _table(("Tasks by coroutine", "tasks"), rows)]
    if opened.lookups:
        names = ", ".join(f"<code>{escaped(name, 200)}</code>" for name in opened.lookups)
        parts.append(f'<p class="soft">Being looked up: {names}</p>')
    title = f"What it had open at {moment(opened.at, span)}"
    return f'<div class="card"><h3>{title}</h3>{"".join(parts)}</div>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
