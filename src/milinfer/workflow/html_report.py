"""Write a report as one self-contained HTML file with text, tables and vector figures."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from milinfer.typing import PathLikeStr
from milinfer.utils.files import write_whole
from milinfer.workflow.report_terms import linked, used_terms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Report", "laid_out", "svg_text"]

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
/* Below its smallest width a figure scrolls, as a table does: its text stays readable. */
figure svg {{ width: 100%; max-width: 52rem; min-width: 30rem; height: auto; display: block;
             margin: auto; }}
figcaption {{ color: #4a5565; font-size: .9rem; max-width: 46rem; margin: .25rem auto 0; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .84rem;
        margin: .8rem 0; }}
caption {{ color: #4a5565; font-size: .9rem; text-align: left; padding-bottom: .4rem;
          max-width: min(60rem, 100vw - 3rem); }}
th, td {{ padding: .32rem .42rem; text-align: right; border-bottom: 1px solid #e5e9ef;
         white-space: nowrap; }}
th {{ font-weight: 600; background: #f4f6f9; }}
th:first-child, th.text, th.hash, td.text {{ text-align: left; }}
td.text {{ white-space: normal; overflow-wrap: break-word; min-width: 8rem; }}
td.hash {{ font-family: ui-monospace, "DejaVu Sans Mono", Consolas, monospace; font-size: .78rem;
          text-align: left; }}
tbody th {{ font-weight: 400; background: none; }}
h1, h2, p, figcaption, nav {{ overflow-wrap: anywhere; }}
nav a {{ display: inline-block; margin-right: 1rem; padding: .15rem 0; color: #0060a8; }}
a.term {{ color: inherit; text-decoration: underline dotted #7b8794; text-underline-offset: .2em; }}
a.term:hover {{ color: #0060a8; }}
summary {{ cursor: pointer; color: #0060a8; padding: .3rem 0; }}
dt {{ font-weight: 600; margin-top: .5rem; }}
dd {{ margin: 0 0 0 1.2rem; max-width: 46rem; }}
:target {{ background: #fff6d6; }}
:focus-visible {{ outline: 2px solid #0060a8; outline-offset: 2px; }}
@media (max-width: 40rem) {{ body {{ padding: 1rem .8rem 3rem; }} }}
@media print {{
  nav {{ display: none; }}
  summary {{ display: none; }}
  details::details-content {{ content-visibility: visible; height: auto; }}
  body {{ max-width: none; padding: 0; font-size: 11px; }}
  figure, tr {{ break-inside: avoid; }}
  h2 {{ break-after: avoid; }}
  .scroll {{ overflow: visible; }}
  figure svg {{ min-width: 0; max-width: 40rem; }}
  th, td {{ white-space: normal; padding: .15rem .3rem; overflow-wrap: anywhere; }}
  table {{ font-size: 9px; }}
}}
</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="lead">{lead}</p>
</header>
<nav aria-label="Sections">{contents}</nav>
<main>
{body}
</main>
</body>
</html>
"""


@dataclass
class Report:
    """Report that collects sections and writes them as one HTML page.  All text is escaped.

    Parameters
    ----------
    title, lead
        Heading of the page, and the sentence below it.

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
    _explained: set[str] = field(default_factory=set, repr=False)  # in this section

    def section(self, heading: str) -> None:
        """Start a section."""
        anchor = re.sub(r"\W+", "-", heading.lower()).strip("-") or "section"
        taken = sum(a == anchor or a.startswith(f"{anchor}-") for a, _ in self._sections)
        anchor = f"{anchor}-{taken + 1}" if taken else anchor
        self._sections.append((anchor, heading))
        self._explained.clear()
        self._parts.append(f'<h2 id="{html.escape(anchor)}">{html.escape(heading)}</h2>')

    def text(self, paragraph: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{self._linked(paragraph)}</p>")

    @contextmanager
    def folded(self, summary: str) -> Iterator[None]:
        """Put what is added in the ``with`` block into a part that the reader has to open.

        Examples
        --------
        >>> report = Report("title")
        >>> with report.folded("Details"):
        ...     report.text("seeds")
        >>> "<details><summary>Details</summary>" in report.to_html()
        True
        """
        self._parts.append(f"<details><summary>{html.escape(summary)}</summary>")
        try:
            yield
        finally:
            self._parts.append("</details>")

    def _linked(self, text: str) -> str:
        return linked(text, self._explained)

    def table(
        self,
        header: Sequence[str],
        rows: Sequence[Sequence[str]],
        caption: str = "",
        kinds: Mapping[str, Literal["text", "hash"]] | None = None,
    ) -> None:
        """Add a table.  In a narrow window it can be scrolled.

        Parameters
        ----------
        header
            Names of the columns.
        rows
            Cells of each row, as text.  The first cell is the name of the row.
        caption
            Caption above the table.
        kinds
            For columns that are not numbers, by name: ``"text"``, which may be wrapped, or
            ``"hash"``.
        """
        classes = [(kinds or {}).get(h, "") for h in header]
        head = "".join(
            f'<th scope="col"{f" class={k!r}" if k else ""}>{self._linked(h)}</th>'
            for h, k in zip(header, classes, strict=True)
        )
        lines = []
        for row in rows:
            first, *rest = (html.escape(str(c)) for c in row)
            cells = "".join(
                f'<td class="{k}">{c}</td>' if k else f"<td>{c}</td>"
                for c, k in zip(rest, classes[1:], strict=True)
            )
            lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
        title = f"<caption>{self._linked(caption)}</caption>" if caption else ""
        label = html.escape(caption or f"Table of {', '.join(header)}")
        # The focus lets users without a mouse scroll the table.
        self._parts.append(
            f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>{title}'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
        )

    def figure(self, figure: Figure | str, caption: str) -> None:
        """Add a figure of Matplotlib, or a text from :func:`svg_text`, as SVG inside the page."""
        svg = figure if isinstance(figure, str) else svg_text(figure)
        # Ids must be unique in a page that holds several figures.
        prefix = f"f{len(self._parts)}-"
        svg = re.sub(r'\bid="', f'id="{prefix}', svg)
        svg = re.sub(r"url\(#", f"url(#{prefix}", svg)
        svg = re.sub(r'xlink:href="#', f'xlink:href="#{prefix}', svg)
        label = html.escape(caption)
        svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
        self._parts.append(
            f'<figure><div class="scroll">{svg}</div>'
            f"<figcaption>{self._linked(caption)}</figcaption></figure>"
        )

    def to_html(self) -> str:
        """Return the whole page.  At its end it explains the terms that it uses."""
        body = "\n".join(self._parts)
        sections, terms = list(self._sections), used_terms(body)
        if terms:
            sections.append(("terms", "Terms"))
            lines = "".join(
                f'<dt id="{t.anchor}">{html.escape(t.name)}</dt><dd>{html.escape(t.meaning)}</dd>'
                for t in terms
            )
            body += f'\n<h2 id="terms">Terms</h2>\n<dl>{lines}</dl>'
        contents = "".join(
            f'<a href="#{html.escape(anchor)}">{html.escape(heading)}</a>'
            for anchor, heading in sections
        )
        return _PAGE.format(
            title=html.escape(self.title),
            lead=html.escape(self.lead),
            contents=contents,
            body=body,
        )

    def write(self, path: PathLikeStr) -> None:
        """Write the page to a file."""
        write_whole(path, self.to_html())


@contextmanager
def laid_out(figure: Figure) -> Iterator[None]:
    """Compute the layout of a figure once, for all files that are made in the ``with`` block.

    If a figure has a layout engine, Matplotlib draws it twice for each file.  In the block the
    figure has its layout but no engine, so it is drawn once for each file.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> figure = Figure(layout="constrained")
    >>> _ = figure.subplots()
    >>> with laid_out(figure):
    ...     print(figure.get_layout_engine())
    None
    >>> figure.get_layout_engine() is None
    False
    """
    engine = figure.get_layout_engine()
    if engine is None:
        yield
        return
    engine.execute(figure)
    figure.set_layout_engine(None)
    try:
        yield
    finally:
        figure.set_layout_engine(engine)


def svg_text(figure: Figure) -> str:
    """Make an ``<svg>`` element of a figure, without prologue and date, so that equal runs agree.

    The text can also be written to a file, as a complete SVG image.

    Examples
    --------
    >>> from milinfer.plotting.results import plot_training
    >>> history = [{"loss": [2.0, 1.5], "val_loss": [2.1, 1.7]}]
    >>> svg_text(plot_training(history)) == svg_text(plot_training(history))
    True
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    # Without a salt ids are random; settings at the time of drawing do not matter.
    with laid_out(figure), mpl.rc_context({"svg.hashsalt": "milinfer", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
