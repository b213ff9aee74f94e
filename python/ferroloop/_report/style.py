"""The page's style sheet: light and dark as the reader's system has it, from phones to wide screens."""

from __future__ import annotations

__all__ = ("STYLE",)

STYLE = """\
:root {
  color-scheme: light dark;
  --page: #f6f7f8; --card: #ffffff; --text: #1b1e22; --soft: #5a626b; --line: #e2e5e8;
  --busy: #2f6fdf; --turn: #7a50c8; --delay: #0c8577; --bad: #c5301d; --mark: #e0533f40;
  --code: #f0f2f4; --bar: #d5e2fa;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #121518; --card: #1a1e22; --text: #e5e8eb; --soft: #9ca5ae; --line: #2c3238;
    --busy: #6ea5ff; --turn: #b597f7; --delay: #4fc4b6; --bad: #ff8571; --mark: #ff6b5759;
    --code: #121518; --bar: #263a5c;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: 1.5rem clamp(.75rem, 3vw, 2rem) 3rem; background: var(--page);
  color: var(--text); font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  overflow-wrap: anywhere; -webkit-text-size-adjust: 100%; text-size-adjust: 100%;
}
header, main, footer { max-width: 64rem; margin: 0 auto; }
h1 { margin: 0; font-size: 1.5rem; line-height: 1.25; }
h2 { margin: 2.25rem 0 .75rem; font-size: 1.2rem; }
h2 small { color: var(--soft); font-size: .875rem; font-weight: 400; }
h3 { margin: 0 0 .6rem; font-size: 1rem; }
h3 small { color: var(--soft); font-size: .8125rem; font-weight: 400; }
p { margin: .35rem 0; }
a { color: var(--busy); }
code, .mono { font: .86em/1.45 ui-monospace, "DejaVu Sans Mono", Consolas, monospace; }
.soft, .note, footer { color: var(--soft); font-size: .875rem; }
.verdict { margin: 1rem 0 0; font-size: 1.0625rem; }
.bad { color: var(--bad); font-weight: 600; }
.card {
  margin: 0 0 1rem; padding: 1rem clamp(.75rem, 2.5vw, 1.25rem); background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem;
}
.tiles { display: grid; grid-template-columns: repeat(6, 1fr); gap: .6rem; margin: 0 0 1rem; }
.tile { padding: .6rem .8rem; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
.tile b { display: block; font-size: 1.3rem; font-weight: 600; line-height: 1.3; white-space: nowrap; }
.tile > span { color: var(--soft); font-size: .8125rem; line-height: 1.3; display: block; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 0 1rem; align-items: start; }

figure { margin: 0 0 .75rem; }
figcaption { margin: 0 0 .25rem; color: var(--soft); font-size: .8125rem; }
.key { display: inline-block; width: .7em; height: .7em; margin-right: .45em; border-radius: .15em; }
.key.stall { margin-left: .9em; background: var(--bad); opacity: .45; }
.strip { position: relative; margin-right: 3.6rem; }
.strip svg { display: block; width: 100%; height: 5rem; border-bottom: 1px solid var(--soft); }
.scale { position: absolute; inset: 0 -3.6rem 0 auto; width: 3.3rem; }
.scale span {
  position: absolute; left: 0; transform: translateY(50%); color: var(--soft);
  font-size: .6875rem; line-height: 1; white-space: nowrap;
}
.grid { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; }
.threshold { stroke: var(--bad); stroke-width: 1; stroke-dasharray: 4 3; vector-effect: non-scaling-stroke; }
svg .busy { fill: var(--busy); } svg .turn { fill: var(--turn); } svg .delay { fill: var(--delay); }
i.busy { background: var(--busy); } i.turn { background: var(--turn); } i.delay { background: var(--delay); }
svg .stall { fill: var(--mark); }
.hint { fill: transparent; } .hint:hover { fill: var(--text); fill-opacity: .12; }
.axis { position: relative; height: 1.1rem; margin-right: 3.6rem; color: var(--soft); font-size: .75rem; }
.axis span { position: absolute; white-space: nowrap; }
.axis .middle { transform: translateX(-50%); } .axis .last { transform: translateX(-100%); }

details { border-top: 1px solid var(--line); }
details:first-of-type { border-top: 0; }
summary { padding: .5rem 0; cursor: pointer; }
summary .bad { margin-right: .35em; white-space: nowrap; }
.stack { margin: 0 0 .75rem; padding: .6rem .75rem; list-style: none; background: var(--code); border-radius: .4rem; font-size: .875rem; }
.stack li { padding: .15rem 0; }
.stack code { display: block; padding-left: 1.2rem; white-space: pre-wrap; }
.stack .library { color: var(--soft); }
.stack li:last-child code { color: var(--bad); font-weight: 600; }

table { width: 100%; border-collapse: collapse; font-size: .9rem; }
th { padding: 0 0 .3rem .9rem; color: var(--soft); font-size: .8125rem; font-weight: 400; text-align: right; vertical-align: bottom; }
td { padding: .35rem 0 .35rem .9rem; border-top: 1px solid var(--line); text-align: right; vertical-align: top; white-space: nowrap; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { padding-left: 0; text-align: left; white-space: normal; }
td small { display: block; color: var(--soft); white-space: normal; }
.bar { display: block; height: .3rem; margin-top: .2rem; background: var(--bar); border-radius: .15rem; }
.bar i { display: block; height: 100%; min-width: 1px; background: var(--busy); border-radius: inherit; }
dl { display: grid; grid-template-columns: 1fr auto; gap: .25rem 1rem; margin: 0; font-size: .9rem; }
dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; }
@media (max-width: 60rem) { .tiles { grid-template-columns: repeat(3, 1fr); } }
@media (max-width: 32rem) {
  .tiles { grid-template-columns: 1fr 1fr; }
  table { font-size: .8rem; }
  th { font-size: .75rem; }
  th, td { padding-left: .5rem; }
}
@media print { body { background: none; } .card, .tile { break-inside: avoid; } }
"""
