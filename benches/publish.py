"""Puts results of `compare.py` where readers find them.

    python benches/publish.py 3.14 RUN.json [LATER.json ...]

writes `benches/results/3.14.json`, the tables `docs/results/3.14.md` and the charts
`docs/charts/3.14-{light,dark}.svg`. Of a case that several runs have, the last one counts: whole rows
replace each other, so every ratio is one of loops that ran side by side.

    python benches/publish.py 3.14 --counts COUNTS.json [MORE.json ...]

writes what `count_loops.py` counted to `benches/results/3.14-counts.json` and `docs/results/3.14-counts.md`. It also
decides rows of the tables whose rounds disagree.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import chart
from cases import BY_NAME
from harness.case import GROUPS
from harness.loops import OURS
from harness.measure import SERVER_US, Figure
from harness.results import counts, record, table

NOTE = """\
*In the rounds* has the least and the most of the ratio to the best other loop, round by round, and how many rounds there
were. Where 1 lies between the two, time does not decide: the column *decided by* then has ferroloop's instructions by those
of that loop, below 1 where ferroloop executes fewer, or *not decided* where they were not counted."""

ROOT = Path(__file__).resolve().parent.parent


def load(path: Path) -> tuple[dict[str, Any], list[record.Row]]:
    """The facts of a run, and its rows."""
    document = json.loads(path.read_text("utf-8"))
    return document, [_row(saved) for saved in document["rows"] if saved["name"] in BY_NAME]


def _row(saved: dict[str, Any]) -> record.Row:
    row = record.Row(BY_NAME[saved["name"]])
    for loop, cell in saved["loops"].items():
        details = cell.get("runs") or [{} for _ in cell["values"]]
        for value, detail, others in zip(
            cell["values"], details, cell["others_cores"], strict=False
        ):
            # Latencies and the like would be nine tenths of the file.
            kept = {key: value for key, value in detail.items() if key == SERVER_US}
            row.add(loop, Figure(value, details=kept, others=others))
        if cell["reason"] is not None:
            row.add(loop, Figure(None, cell["reason"]))
    return row


def merged(runs: list[tuple[dict[str, Any], list[record.Row]]]) -> list[record.Row]:
    """All cases in the table's order, each from the last run that has it."""
    found = {row.case.name: row for _, rows in runs for row in rows}
    return [found[name] for name in BY_NAME if name in found]


def head(version: str, runs: list[tuple[dict[str, Any], list[record.Row]]]) -> str:
    """What was run, on what."""
    machine = runs[-1][0]["machine"]
    loops = ", ".join(f"{loop} {text}" for loop, text in machine["loops"].items() if loop != OURS)
    build = ", free-threaded" if "free-threading" in machine["python"] else ""
    lines = [
        f"# Results on CPython {machine['python'].split()[0]}{build}",
        f"`benches/publish.py` wrote this page from [{version}.json](../../benches/results/{version}.json); "
        "[performance.md](../performance.md) says how the figures were taken and what they mean.",
        f"{machine['date'][:10]}, {machine['cores']} cores ({machine['cpu']}), Linux {machine['kernel']}, "
        f"{machine['openssl']}, with {loops}.",
    ]
    for document, rows in runs:
        options = document["options"]
        groups = ", ".join(
            group for group in GROUPS if any(row.case.group == group for row in rows)
        )
        kind = "short rounds" if options["quick"] else "rounds"
        lines.append(f"- {options['rounds_done']} {kind} of: {groups}")
    return "\n\n".join(lines)


def write(path: Path, facts: dict[str, Any], rows: list[record.Row]) -> None:
    """The JSON, with a line for each case, so that a change shows which cases it is about."""
    lines = ",\n  ".join(json.dumps(row.as_json()) for row in rows)
    path.write_text(f'{json.dumps(facts)[:-1]},\n "rows": [\n  {lines}\n]}}\n', "utf-8")


def _by_workload(document: dict[str, Any]) -> str:
    """The JSON of the counts, with a line for each workload."""
    facts = {name: value for name, value in document.items() if name != "workloads"}
    workloads = document["workloads"].items()
    lines = ",\n  ".join(f"{json.dumps(name)}: {json.dumps(loops)}" for name, loops in workloads)
    return f'{json.dumps(facts)[:-1]},\n "workloads": {{\n  {lines}\n}}}}\n'


def write_counts(version: str, files: list[Path]) -> None:
    """The JSON and the page of instructions and system calls."""
    document = counts.merged([json.loads(path.read_text("utf-8")) for path in files])
    results = ROOT / "benches" / "results" / f"{version}-counts.json"
    results.write_text(_by_workload(document), "utf-8")
    page = ROOT / "docs" / "results" / f"{version}-counts.md"
    page.write_text(counts.page(document, version), "utf-8")


def main() -> None:
    """Reads the runs and writes everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("version", help="of Python, as the files are called")
    parser.add_argument("runs", type=Path, nargs="*", help="what compare.py wrote, the last last")
    parser.add_argument(
        "--counts", type=Path, nargs="+", default=[], help="what count_loops.py wrote"
    )
    options = parser.parse_args()
    if options.counts:
        write_counts(options.version, options.counts)
    if not options.runs:
        return
    runs = [load(path) for path in options.runs]
    rows = merged(runs)
    facts = runs[-1][0]
    results = ROOT / "benches" / "results" / f"{options.version}.json"
    said = {**facts["options"], "runs": [document["options"] for document, _ in runs]}
    write(results, {"machine": facts["machine"], "options": said}, rows)
    page = ROOT / "docs" / "results" / f"{options.version}.md"
    page.parent.mkdir(exist_ok=True)
    counted = results.with_name(f"{options.version}-counts.json")
    workloads = json.loads(counted.read_text("utf-8"))["workloads"] if counted.exists() else {}
    text = f"{head(options.version, runs)}\n\n{NOTE}\n\n{table.render(rows, workloads)}\n"
    page.write_text(text, "utf-8")
    document = json.loads(results.read_text("utf-8"))
    for name, palette in chart.PALETTES.items():
        path = ROOT / "docs" / "charts" / f"{options.version}-{name}.svg"
        path.write_text(chart.draw(document, palette), "utf-8")


if __name__ == "__main__":
    main()
