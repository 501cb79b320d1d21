"""The page's style. All of it is scoped to `.lb`: Flyte shows all Decks in one document.

A Deck is always light, as the console around it is; the page follows its reader's colour scheme,
and is light in print.
"""

from __future__ import annotations

_COLOURS = """
.lb {
  color-scheme: light;
  --bg: #fff; --fg: #1b1f24; --muted: #5b636e; --line: #d9dde3; --soft: #f4f6f8;
  --accent: #0072b2; --vanilla: #d55e00; --liger: #0072b2; --on-liger: #fff;
  --arm-1: #009e73; --arm-2: #b8578f; --arm-3: #5b636e;
  --arm-4: #2f9fd8; --arm-5: #c98a00; --arm-6: #8f8500;
  --warn-bg: #fff6e0; --warn-line: #b07a00;
  --yes: #00805d; --no: #c2410c; --maybe: #a56a00;
}
@media screen and (prefers-color-scheme: dark) {
  .lb:not(.deck) {
    color-scheme: dark;
    --bg: #14171b; --fg: #e6e9ed; --muted: #a0a8b3; --line: #333a43; --soft: #1d2127;
    --accent: #6cb8ea; --vanilla: #e69f00; --liger: #56b4e9; --on-liger: #101317;
    --arm-1: #2fc79b; --arm-2: #e39bc4; --arm-3: #a0a8b3;
    --arm-4: #a9daf5; --arm-5: #ff9a6b; --arm-6: #f0e442;
    --warn-bg: #2b2410; --warn-line: #d9a520;
    --yes: #2fc79b; --no: #ff9a6b; --maybe: #f0c040;
  }
}
"""

_TEXT = """
.lb {
  background: var(--bg); color: var(--fg); padding: 16px 24px 48px;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  -webkit-text-size-adjust: 100%;
}
.lb.deck { padding: 0 8px 8px; }
.lb * { box-sizing: border-box; }
.lb section, .lb header { max-width: 960px; margin: 0 auto; }
.lb section { margin-top: 48px; }
.lb > section:first-child, .lb main > section:first-child { margin-top: 0; }
.lb h1 { font-size: 15px; font-weight: 600; color: var(--muted); margin: 0; }
.lb h2 {
  font-size: 22px; line-height: 1.25; margin: 0 0 16px; padding-top: 20px;
  border-top: 1px solid var(--line); color: var(--fg);
}
.lb > section:first-child h2, .lb main > section:first-child h2 {
  border-top: 0; padding-top: 4px; margin: 0 0 2px; font-size: 13px; font-weight: 600;
  color: var(--muted);
}
.lb h3 { font-size: 17px; line-height: 1.35; margin: 32px 0 8px; color: var(--fg); }
.lb p { margin: 0 0 12px; max-width: 76ch; }
.lb a { color: var(--accent); }
.lb .headline {
  font-size: 25px; line-height: 1.28; font-weight: 650; letter-spacing: -.01em;
  margin: 0 0 8px; max-width: none; overflow-wrap: anywhere; text-wrap: pretty;
}
.lb .unbroken { white-space: nowrap; }
.lb .headline.long { font-size: 21px; }
.lb .what, .lb .note, .lb figcaption { color: var(--muted); font-size: 13.5px; line-height: 1.45; }
.lb .what { margin: 0 0 2px; max-width: none; overflow-wrap: anywhere; }
.lb .actions { margin: 6px 0 0; max-width: none; font-size: 14px; }
.lb .actions a { margin-right: 16px; }
.lb .notice {
  background: var(--warn-bg); border-left: 4px solid var(--warn-line); padding: 10px 16px;
  margin: 0 0 12px; max-width: none; font-weight: 600; overflow-wrap: anywhere;
}
.lb ul.warnings {
  border-left: 4px solid var(--warn-line); background: var(--warn-bg); margin: 8px 0;
  padding: 10px 16px 10px 34px; list-style: disc; font-size: 14px; overflow-wrap: anywhere;
}
.lb .warnings li { margin: 2px 0; }
.lb .actions + .note { margin-top: 10px; }
.lb .code { margin-bottom: 10px; }
.lb ul.failed { font-size: 14px; margin: 8px 0; padding-left: 22px; overflow-wrap: anywhere; }
.lb .verdict { font-weight: 600; }
.lb pre {
  background: var(--soft); color: var(--fg); padding: 12px 16px; margin: 8px 0 6px;
  font-size: 13px; line-height: 1.5; white-space: pre-wrap; overflow-wrap: anywhere;
  border-radius: 4px;
}
.lb .downloads {
  list-style: none; padding: 0; margin: 0 0 16px; display: flex; flex-wrap: wrap; gap: 8px 20px;
}
.lb nav ul {
  list-style: none; display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 2px 0 0; padding: 0;
  font-size: 13px;
}
.lb nav li { margin: 0; }
.lb details { margin: 12px 0; }
.lb summary { cursor: pointer; font-weight: 600; font-size: 15px; padding: 2px 0; }
"""

_FIGURES = """
.lb figure { margin: 10px 0 20px; }
.lb figure svg { display: block; width: 100%; height: auto; overflow: visible; color: var(--fg); }
.lb figure svg * { pointer-events: none; }
.lb figure .tip, .lb figure .tip * { pointer-events: all; }
.lb figure .tip path[style*="fill: none"]:not([clip-path]) { pointer-events: stroke; }
.lb figure .narrow { display: none; }
.lb figcaption { margin-top: 2px; }
.lb .files { color: var(--muted); font-size: 13px; margin-top: 2px; }
.lb .tip-box {
  position: fixed; z-index: 9; max-width: 320px; padding: 5px 9px; border-radius: 4px;
  background: var(--fg); color: var(--bg); font-size: 13px; line-height: 1.4; pointer-events: none;
}
.lb :is(button.copy, button.save, button.part) {
  font: inherit; font-size: 13px; color: var(--fg); background: var(--soft);
  border: 1px solid var(--line); border-radius: 4px; padding: 1px 9px; margin: 0 6px 0 0;
  cursor: pointer;
}
.lb :is(button.copy, button.save, button.part):hover { border-color: var(--muted); }
.lb textarea.copied { display: block; width: 100%; margin: 6px 0; font-size: 12px; }
.lb :is(button, a, summary, .scroll):focus-visible {
  outline: 2px solid var(--accent); outline-offset: 2px;
}
"""

# A judgement's mark has a shape of its own beside its colour: tick, triangle, cross, diamond,
# half a square, bar.
_TABLES = """
.lb .scroll { overflow-x: auto; margin: 8px 0 12px; }
.lb figure .scroll { margin: 0; }
.lb table {
  border-collapse: collapse; width: 100%; font-size: 14px; line-height: 1.4;
  font-variant-numeric: tabular-nums; color: var(--fg); background: var(--bg);
}
.lb caption {
  text-align: left; color: var(--muted); font-size: 13.5px; padding: 0 0 8px; caption-side: top;
}
.lb th, .lb td {
  padding: 6px 10px 6px 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line);
}
.lb thead th {
  font-weight: 600; color: var(--muted); vertical-align: bottom;
  border-bottom: 2px solid var(--line);
}
.lb tbody th { font-weight: 600; }
.lb td.num { text-align: right; white-space: nowrap; }
.lb th.num { text-align: right; }
.lb .num + :not(.num) { padding-left: 8px; }
.lb table:not(.dense) .num + .num { padding-left: 10px; }
.lb .num:last-child, .lb th:last-child { padding-right: 0; }
.lb small { display: block; color: var(--muted); font-size: 12px; font-weight: 400; }
.lb .num small { white-space: pre; }
.lb .text small { overflow-wrap: anywhere; min-width: 11em; }
.lb .text { overflow-wrap: break-word; }
.lb .dense { font-size: 13px; }
.lb .dense th, .lb .dense td { padding-right: 8px; }
.lb th button { all: unset; cursor: pointer; font-weight: 600; }
.lb th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.lb th button:hover { text-decoration: underline; }
.lb th[aria-sort=ascending] button::after { content: " \\2191"; }
.lb th[aria-sort=descending] button::after { content: " \\2193"; }
.lb .judgement { white-space: nowrap; }
.lb .mark {
  display: inline-block; width: 12px; height: 12px; margin-right: 6px; background: var(--muted);
  print-color-adjust: exact; -webkit-print-color-adjust: exact;
}
.lb .mark-yes {
  background: var(--yes); clip-path: polygon(0 55%, 15% 40%, 38% 62%, 85% 10%, 100% 25%, 38% 92%);
}
.lb .mark-more { background: var(--yes); clip-path: polygon(50% 0, 100% 100%, 0 100%); }
.lb .mark-no {
  background: var(--no);
  clip-path: polygon(18% 0, 50% 32%, 82% 0, 100% 18%, 68% 50%, 100% 82%, 82% 100%, 50% 68%,
    18% 100%, 0 82%, 32% 50%, 0 18%);
}
.lb .mark-maybe { background: var(--maybe); clip-path: polygon(50% 0, 100% 50%, 50% 100%, 0 50%); }
.lb .mark-part { background: linear-gradient(90deg, var(--maybe) 50%, transparent 50%);
  outline: 1.5px solid var(--maybe); outline-offset: -1.5px; }
.lb .mark-none { clip-path: polygon(0 40%, 100% 40%, 100% 60%, 0 60%); }
"""

_WINDOWS = """
@media (max-width: 900px) {
  .lb .dense { font-size: 12px; }
  .lb .dense small { font-size: 11px; }
  .lb .dense th, .lb .dense td { padding-right: 5px; }
  .lb.deck .dense { font-size: 11.5px; }
  .lb.deck .dense th, .lb.deck .dense td { padding-right: 3px; }
  .lb.deck .dense .text small { min-width: 9em; }
}
@media screen and (max-width: 600px) {
  .lb { padding: 12px 14px 32px; }
  .lb .headline, .lb .headline.long { font-size: 20px; }
  .lb .what, .lb .note, .lb figcaption { font-size: 13px; }
  .lb figure .wide { display: none; }
  .lb figure .narrow { display: block; }
  .lb figure .only { min-width: 560px; }
  .lb table.words td.text { min-width: 11em; }
  .lb caption > span {
    display: inline-block; position: sticky; left: 0; max-width: calc(100vw - 30px);
  }
  .lb nav ul { flex-wrap: nowrap; overflow-x: auto; white-space: nowrap; }
}
@media print {
  .lb { padding: 0; font-size: 10.5pt; }
  .lb section, .lb header { max-width: none; }
  .lb :is(button.copy, button.part, .files, nav, .actions, .screen-only, .tip-box) {
    display: none;
  }
  .lb th button::after { content: "" !important; }
  .lb .scroll { overflow: visible; }
  .lb table, .lb .dense { font-size: 8.5pt; }
  .lb .dense th, .lb .dense td { padding: 3px 4px 3px 0; }
  .lb .dense small, .lb small { font-size: 7.5pt; }
  .lb thead { display: table-header-group; break-inside: avoid; }
  .lb :is(p, tr, figure, .notice, table.words) { break-inside: avoid; }
  .lb h2, .lb h3, .lb caption, .lb summary, .lb h3 + p { break-after: avoid; }
  .lb details::details-content { content-visibility: visible; height: auto; display: block; }
}
"""

# Of a Deck and of the page.
STYLE = _COLOURS + _TEXT + _FIGURES + _TABLES + _WINDOWS

# Of the page alone, which has the document to itself.
PAGE_STYLE = """
body { margin: 0; }
html { scroll-padding-top: 12px; }
@page { margin: 14mm; }
@media screen and (prefers-color-scheme: dark) { html { background: #14171b; } }
"""
