"""What a relation looks like in a notebook: its first rows, with their images."""

import base64
import html

ROWS = 10
# Characters of a cell.
LONGEST = 60


def relation(rows) -> str:
    """A table of the first rows."""
    names, types, cells = rows.limit(ROWS)._preview()
    head = "".join(
        f"<th style='text-align:left'>{html.escape(name)}<br><small style='font-weight:normal'>{html.escape(_short(kind))}"
        "</small></th>"
        for name, kind in zip(names, types)
    )
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in cells)
    more = f"<p><small>the first {len(cells)} rows</small></p>" if len(cells) == ROWS else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(value) -> str:
    if isinstance(value, bytes):
        image = base64.b64encode(value).decode()
        return f"<td><img alt='image' src='data:image/jpeg;base64,{image}' style='min-width:48px;image-rendering:pixelated'></td>"
    if value is None:
        return "<td style='color:gray'>null</td>"
    return f"<td style='text-align:left'>{html.escape(_short(value))}</td>"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
