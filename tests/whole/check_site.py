"""Open every page of a built site, and fail if markup was not rendered or a network is needed.

    python tests/whole/check_site.py SITE

Sphinx warns of markup that it does not understand, but not of markup that it takes for text: a
page of reST that is read as Markdown is a page of prose to it.  So this looks at what a reader
sees, without what is code or a rendered formula, and whether the reference describes every public
name.  A site is read offline too: scripts, styles, fonts and images have to come with it.
"""

from __future__ import annotations

import pkgutil
import re
import sys
from collections.abc import Collection, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

__all__ = ["Fault", "faults_of_page", "faults_of_site", "public_names"]

# Stands for code and formulas in the text around them.
_CODE = "\ufffc"
_SKIPPED = {"pre", "code", "script", "style", "head", "svg", "math", "kbd", "samp", "textarea"}
_SKIPPED_CLASSES = {"sig"}  # signatures are code
# Attributes with the address of something that a page loads; an <a> is only a link.
_LOADED = {
    **dict.fromkeys(("audio", "embed", "iframe", "img", "script", "source", "video"), "src"),
    "link": "href",
    "object": "data",
}
_LINKS = {"icon", "modulepreload", "preload", "stylesheet"}  # other relations are links
_NETWORK = re.compile(r"\s*(?:[a-z]+:)?//", re.IGNORECASE)
_NETWORK_STYLE = re.compile(
    r"(?:@import\s+|url\(\s*)[\"']?(?P<address>(?:https?:)?//[^\"')\s]+)", re.IGNORECASE
)
_BLOCKS = {
    *("address", "article", "aside", "blockquote", "body", "caption", "dd", "details", "div"),
    *("dl", "dt", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6"),
    *("header", "hr", "li", "main", "nav", "ol", "option", "p", "section", "summary", "table"),
    *("tbody", "td", "tfoot", "th", "thead", "tr", "ul", "br"),
}
_EMPTY = {
    "area",
    "base",
    "br",
    "col",
    "embed",
    "hr",
    "img",
    "input",
    "link",
    "meta",
    "source",
    "wbr",
}
_SECTIONS = "Attributes|Examples|Notes|Parameters|Raises|References|Returns|Warns|Yields"
_ROLES = "attr|class|doc|exc|func|math|meth|mod|ref|term"
# Smart quotes turn two and three hyphens into dashes.
_RULE = r"(?:[-–—]{3,}|[–—]{2,}|={4,}|~{4,}|\^{4,})"
_MARKUP = {
    "a half of a merge": r"<{7} \w|>{7} \w",
    "a role": rf":[a-z]+(?::[a-z]+)*:(?=[`{_CODE}])|:(?:{_ROLES}):",
    "a directive": r"\.\. +[a-z][\w:-]*::|\.\. +(?:_[^:\n]+:|\[[^\]\n]+\])",
    "an option of a directive or a field": r"^\s*:[a-z][\w-]*(?: [\w*, ]+)?:(?=\s|$)",
    "an underlined heading": rf"\b(?:{_SECTIONS})\s+{_RULE}|^\s*{_RULE}\s*$",
    "a block of Markdown": r"```|^\s*:{3,}|\{(?:eval-rst|toctree|code-cell|admonition|note)\}",
    "a role of Markdown": rf"\{{[a-z]+(?::[a-z]+)*\}}(?=[`{_CODE}])|\{{(?:{_ROLES})\}}",
    "bold text": r"\*\*(?=[^\s*])[^*\n]+\*\*",
    "a formula": r"\$\$|\$(?=[^\s$])[^$]*[^\s$]\$|\\[()\[\]]|\\[A-Za-z]{2,}",
    "a substitution": r"(?<![\w|])\|[A-Za-z]{2}[\w-]*\|(?![\w|])",
    "a link": r"\]\((?:https?:|#|[\w./-]+\.(?:md|html)\b)|\]_(?!\w)",
    "a backtick": r"`",
    "an option of a command": r"(?:^|[\s\[(])[–—][a-z]",  # its hyphens have become a dash
}
_PATTERNS = {what: re.compile(pattern, re.MULTILINE) for what, pattern in _MARKUP.items()}


_FROM_NETWORK = "something is loaded from a network"


class Fault(NamedTuple):
    """What is wrong with a page.

    Parameters
    ----------
    page
        Path from the folder of the site.
    what
        Kind of markup, or what is missing.
    text
        As the page shows it.
    """

    page: str
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.what}" + (f": {self.text!r}" if self.text else "")


class _Page(HTMLParser):
    """Collects the text of blocks and formulas, what is loaded, signatures and messages."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[str] = []
        self.formulas: list[str] = []
        self.addresses: list[str] = []  # of what is loaded from a network
        self.signatures: set[str] = set()
        self.has_signature = False
        self.has_message = False
        self._text: list[str] = []
        self._open: list[tuple[str, bool]] = []  # tags, and whether what is in them is skipped

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        classes = set((values.get("class") or "").split())
        if tag == "dt" and "sig" in classes:
            self.has_signature = True
            self.signatures.add(values.get("id") or "")
        if classes & {"system-message", "problematic"}:
            self.has_message = True
        self._load(tag, values)
        if tag == "math":
            self.formulas.append("")
        inside = bool(self._open) and self._open[-1][1]
        skip = tag in _SKIPPED or bool(classes & _SKIPPED_CLASSES)
        if tag in _BLOCKS:
            self._end_block()
        if skip and not inside:
            self._text.append(_CODE)
        if tag not in _EMPTY:
            self._open.append((tag, inside or skip))

    def handle_endtag(self, tag: str) -> None:
        # Browsers, too, close what is open inside of a tag that ends.
        if any(name == tag for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass
        if tag in _BLOCKS:
            self._end_block()

    def handle_data(self, data: str) -> None:
        if not (self._open and self._open[-1][1]):
            self._text.append(data)
        tags = [tag for tag, _ in self._open]
        if "math" in tags:
            self.formulas[-1] += data
        if tags and tags[-1] == "style":
            self.addresses += _style_addresses(data)

    def close(self) -> None:
        super().close()
        self._end_block()

    def _load(self, tag: str, values: dict[str, str | None]) -> None:
        """Keep the addresses in a network of what a tag loads."""
        address = values.get(_LOADED.get(tag, "")) or ""
        if tag == "link" and not _LINKS & set((values.get("rel") or "").lower().split()):
            address = ""
        if _NETWORK.match(address):
            self.addresses.append(address)
        self.addresses += _style_addresses(values.get("style") or "")

    def _end_block(self) -> None:
        text = "".join(self._text)
        self._text = []
        if text.strip(f"{_CODE} \t\r\n"):
            self.blocks.append(text)


def faults_of_page(html: str, page: str, *, needs_signature: bool = False) -> list[Fault]:
    """What is wrong with a page.

    Parameters
    ----------
    html
        Its text.
    page
        What to call it.
    needs_signature
        Whether it describes a name of the package.

    Examples
    --------
    >>> faults_of_page("<p>See :func:<code>f</code>.</p>", "a.html")
    [Fault(page='a.html', what='a role was not rendered', text='See :func:….')]
    >>> faults_of_page("<p>See <code>:func:`f`</code>.</p>", "a.html")
    []
    """
    parser = _parsed(html)
    faults = [
        Fault(page, f"{what} was not rendered", _shown(block, match.start()))
        for block in parser.blocks
        for what, pattern in _PATTERNS.items()
        if (match := pattern.search(block))
    ]
    faults += [
        Fault(page, "a formula was not rendered", _shown(formula, 0))
        for formula in parser.formulas
        if _PATTERNS["a formula"].search(formula) or "\\" in formula
    ]
    faults += [Fault(page, _FROM_NETWORK, address) for address in parser.addresses]
    if parser.has_message:
        faults.append(Fault(page, "there is a message of docutils", ""))
    if needs_signature and not parser.has_signature:
        faults.append(Fault(page, "there is no signature", ""))
    return faults


def faults_of_site(site: Path, names: Collection[str]) -> tuple[list[Fault], int]:
    """What is wrong with the pages of a site, and how many pages there are.

    Parameters
    ----------
    site
        Folder that Sphinx has built.
    names
        Public names, each of which has a page of the reference.
    """
    faults: list[Fault] = []
    n_pages = 0
    described: set[str] = set()
    for file in _pages(site):
        page = file.relative_to(site).as_posix()
        html = file.read_text(encoding="utf-8")
        reference = page.startswith("api/generated/")
        faults += faults_of_page(html, page, needs_signature=reference)
        n_pages += 1
        if reference:
            described |= _parsed(html).signatures
    for file in sorted(site.rglob("*.css")):
        style = file.relative_to(site).as_posix()
        addresses = _style_addresses(file.read_text(encoding="utf-8"))
        faults += [Fault(style, _FROM_NETWORK, address) for address in addresses]
    faults += [
        Fault("api/generated", f"no page has the signature of {name}", "")
        for name in sorted(names)
        if f"milinfer.{name}" not in described
    ]
    return faults, n_pages


def _style_addresses(style: str) -> list[str]:
    """Addresses in a network that a style sheet loads."""
    return [match["address"] for match in _NETWORK_STYLE.finditer(style)]


def _pages(site: Path) -> Iterator[Path]:
    for file in sorted(site.rglob("*.html")):
        if not file.relative_to(site).parts[0].startswith("_static"):
            yield file


def _parsed(html: str) -> _Page:
    parser = _Page()
    parser.feed(html)
    parser.close()
    return parser


def _shown(block: str, start: int) -> str:
    """A line around the place."""
    text = block[max(0, start - 30) : start + 60].replace(_CODE, "…")
    return " ".join(text.split())


def public_names() -> set[str]:
    """Names of the package that are neither rooms nor its version."""
    import milinfer

    rooms = {module.name for module in pkgutil.iter_modules(milinfer.__path__)}
    return set(milinfer.__all__) - rooms - {"__version__"}


def main() -> None:
    """Check the site in the folder of the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/whole/check_site.py SITE")
    site = Path(sys.argv[1])
    names = public_names()
    faults, n_pages = faults_of_site(site, names)
    if not n_pages:
        sys.exit(f"there is no page in {site}; build the site first")
    for fault in faults:
        print(fault)
    n_bad = len({f.page for f in faults if f.page.endswith(".html")})
    print(f"{n_pages} pages, {n_bad} of them with faults; {len(names)} public names")
    if faults:
        sys.exit(1)


if __name__ == "__main__":
    main()
