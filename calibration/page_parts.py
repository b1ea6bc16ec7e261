"""What the program's HTML reports are made of: pages that need nothing beside them, in light and in dark."""

from __future__ import annotations

from html import escape

STYLE = """
:root { color-scheme:light dark; --ink:#1c2430; --soft:#5b6676; --line:#dfe4ea; --panel:#f6f8fa; --page:#fff;
  --good:#1a7f4b; --usable:#9a6700; --refused:#b42318; }
@media (prefers-color-scheme: dark) { :root { --ink:#e4e8ee; --soft:#9aa6b5; --line:#323a46; --panel:#1b2129;
  --page:#12161c; --good:#4fc184; --usable:#e0b04a; --refused:#ff8a7a; } }
* { box-sizing: border-box; }
body { margin:0; color:var(--ink); background:var(--page); font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
  "DejaVu Sans",sans-serif; }
main { max-width:1120px; margin:0 auto; padding:28px 24px 60px; }
h1 { font-size:22px; margin:0 0 4px; } h2 { font-size:18px; margin:38px 0 6px; } h3 { font-size:15px;
  margin:14px 0 4px; }
p { margin:6px 0; } .soft { color:var(--soft); }
.tiles { display:grid; grid-template-columns:repeat(auto-fill,minmax(170px,1fr)); gap:12px; }
.tile { border:1px solid var(--line); border-radius:6px; padding:10px 14px; }
.tile b { display:block; font-size:20px; font-weight:600; font-variant-numeric:tabular-nums; }
  .tile span { color:var(--soft); font-size:13px; }
.wide { overflow-x:auto; }
table { border-collapse:collapse; margin:8px 0; font-variant-numeric:tabular-nums; }
th,td { text-align:right; padding:4px 12px; border-bottom:1px solid var(--line); vertical-align:top; }
th { font-weight:600; color:var(--soft); font-size:13px; } th:first-child,td:first-child,td.text,
  th.text { text-align:left; }
figure { margin:0; } figure img { width:100%; display:block; border-radius:3px; } figcaption { font-size:13px;
  color:var(--soft); padding-top:3px; }
footer { margin-top:46px; border-top:1px solid var(--line); padding-top:10px; color:var(--soft); font-size:13px; }
@media (max-width: 560px) { main { padding:18px 14px 40px; } th,td { padding:4px 8px; } }
"""


def document(title: str, below: str, body: str, footer: str, style: str) -> str:
    """A whole page. below: a line under the title, body, footer: HTML; style: CSS after the common STYLE."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}{style}</style></head>'
        f'<body><main><h1>{escape(title)}</h1><p class="soft">{below}</p>{body}<footer>{footer}</footer></main></body>'
        "</html>\n"
    )


def sentence(text: str) -> str:
    """First letter large, a full stop at the end."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else text + "."


def html_table(head: list[str], rows: list[list[str]], row_classes: list[str] | None = None) -> str:
    """head and rows are HTML already; a head starting with "|" is left-aligned text."""
    text = [name.startswith("|") for name in head]
    cells = "".join(
        f"<th{' class=text' if t else ''}>{name.lstrip('|')}</th>" for name, t in zip(head, text, strict=True)
    )
    body = "".join(
        f"<tr class='{(row_classes or [''] * len(rows))[k]}'>"
        + "".join(f"<td{' class=text' if t else ''}>{cell}</td>" for cell, t in zip(row, text, strict=True))
        + "</tr>"
        for k, row in enumerate(rows)
    )
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


def html_number(value: float | None, digits: int) -> str:
    """A number with so many digits; a dash for None and NaN."""
    return "&ndash;" if value is None or value != value else f"{value:.{digits}f}"


def svg(width: int, height: int, content: str, label: str) -> str:
    """A drawing that scales with the page. content: SVG; label: for those who cannot see it."""
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">{content}</svg>'
