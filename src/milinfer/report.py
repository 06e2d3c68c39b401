"""A report as one HTML file: text, tables and vector figures, nothing loaded from elsewhere."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from milinfer.typing import PathLikeStr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Report"]

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light; }}
body {{ font: 16px/1.55 system-ui, "Segoe UI", Roboto, Arial, sans-serif;
       color: #1c2430; background: #fff;
       margin: 0 auto; max-width: 70rem; padding: 1.5rem 1.25rem 4rem; }}
h1 {{ font-size: 1.7rem; margin: 0 0 .25rem; }}
h2 {{ font-size: 1.2rem; margin: 2.4rem 0 .4rem; padding-top: .6rem;
     border-top: 1px solid #d8dee6; }}
.lead {{ color: #4a5565; margin-top: 0; }}
figure {{ margin: 1rem 0; }}
figure svg {{ max-width: 100%; height: auto; display: block; margin: auto; }}
figcaption {{ color: #4a5565; font-size: .9rem; max-width: 46rem; margin: .25rem auto 0; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .86rem;
        margin: .8rem 0; }}
.caption {{ color: #4a5565; font-size: .9rem; }}
th, td {{ padding: .32rem .5rem; text-align: right; border-bottom: 1px solid #e5e9ef;
         white-space: nowrap; }}
th {{ font-weight: 600; background: #f4f6f9; }}
th:first-child, td:first-child {{ text-align: left; }}
nav a {{ margin-right: 1rem; color: #0060a8; text-decoration: none; }}
@media print {{ nav {{ display: none; }} figure {{ break-inside: avoid; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="lead">{lead}</p>
<nav>{contents}</nav>
{body}
</body>
</html>
"""


@dataclass
class Report:
    """Collects sections, then writes one self-contained HTML page.  All text is escaped.

    Parameters
    ----------
    title, lead
        Heading, and the sentence under it.

    Examples
    --------
    >>> report = Report("c_HW from 1000 events", "A <small> test.")
    >>> report.section("Result")
    >>> report.table(["method", "estimate"], [["multiclass", "0.02"]])
    >>> "A &lt;small&gt; test." in report.to_html()
    True
    """

    title: str
    lead: str = ""
    _parts: list[str] = field(default_factory=list, repr=False)
    _sections: list[tuple[str, str]] = field(default_factory=list, repr=False)

    def section(self, heading: str) -> None:
        """Start a section."""
        anchor = re.sub(r"\W+", "-", heading.lower()).strip("-")
        self._sections.append((anchor, heading))
        self._parts.append(f'<h2 id="{html.escape(anchor)}">{html.escape(heading)}</h2>')

    def text(self, paragraph: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{html.escape(paragraph)}</p>")

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = ""
    ) -> None:
        """Add a table; it scrolls by itself where the window is narrow."""
        head = "".join(f'<th scope="col">{html.escape(h)}</th>' for h in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>"
            for row in rows
        )
        title = f'<p class="caption">{html.escape(caption)}</p>' if caption else ""
        self._parts.append(
            f'{title}<div class="scroll"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )

    def figure(self, figure: Figure, caption: str) -> None:
        """Add a figure as inline SVG."""
        svg = svg_text(figure)
        # Ids must be unique in a page that holds several figures.
        prefix = f"f{len(self._parts)}-"
        svg = re.sub(r'\bid="', f'id="{prefix}', svg)
        svg = re.sub(r"url\(#", f"url(#{prefix}", svg)
        svg = re.sub(r'xlink:href="#', f'xlink:href="#{prefix}', svg)
        label = html.escape(caption)
        svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
        self._parts.append(f"<figure>{svg}<figcaption>{label}</figcaption></figure>")

    def to_html(self) -> str:
        """The whole page."""
        contents = "".join(
            f'<a href="#{html.escape(anchor)}">{html.escape(heading)}</a>'
            for anchor, heading in self._sections
        )
        return _PAGE.format(
            title=html.escape(self.title),
            lead=html.escape(self.lead),
            contents=contents,
            body="\n".join(self._parts),
        )

    def write(self, path: PathLikeStr) -> None:
        """Write the page to a file."""
        Path(path).write_text(self.to_html(), encoding="utf-8")


def svg_text(figure: Figure) -> str:
    """A figure as an ``<svg>`` element, without prologue and date (equal runs, equal bytes)."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
