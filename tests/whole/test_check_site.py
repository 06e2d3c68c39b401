"""The check of built pages: good ones pass, and it names what is wrong with bad ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from whole.check_site import faults_of_page, faults_of_site, public_names

SCRIPT = Path(__file__).with_name("check_site.py")
SIGNATURE = (
    '<dl><dt class="sig sig-object py" id="milinfer.{}">f(**options)</dt><dd>Text.</dd></dl>'
)

BROKEN = {
    "a role": [
        "<p>See :func:`f`.</p>",
        "<p>See :class:<code>Sample</code>.</p>",
        "<p>See :py:meth:<code>Sample.take</code>.</p>",
        "<p>Of :math:<code>x^2</code>.</p>",
        "<p>See :func:f</p>",
    ],
    "a directive": [
        "<p>.. autosummary::\n   :toctree: generated</p>",
        "<p>.. autofunction:: f</p>",
        "<p>.. currentmodule:: milinfer</p>",
        "<p>before</p>.. py:class:: Sample",
        "<p>.. _a label:</p>",
        "<p>.. [AS] A paper</p>",
    ],
    "an option of a directive or a field": [
        "<p>autosummary\n   :toctree: generated</p>",
        "<p>:param x: a number</p>",
        "<p>:param Sample x: a number</p>",
        "<p>:returns: a number</p>",
        "<p>:nosignatures:</p>",
    ],
    "an underlined heading": [
        "<p>Parameters\n----------\nx</p>",
        "<p>Returns ———–</p>",
        "<p>Text\n=====</p>",
        "<p>Text\n~~~~</p>",
    ],
    "a block of Markdown": [
        "<p>```{eval-rst}</p>",
        "<p>```python\nx = 1\n```</p>",
        "<p>:::{grid-item}\ntext</p>",
        "<p>{toctree}</p>",
    ],
    "a role of Markdown": [
        "<p>See {doc}`start`.</p>",
        "<p>See {ref}<code>label</code>.</p>",
        "<p>See {py:func}<code>f</code>.</p>",
        "<p>See {ref}.</p>",
    ],
    "bold text": ["<p>This is **bold**.</p>", "<li>**<code>f</code> is bold**</li>"],
    "a formula": [
        "<p>with $x^2$ of it</p>",
        "<p>with $x$.</p>",
        "<p>$$x$$</p>",
        "<td>the \\(x\\) of it</td>",
        "<p>the \\theta of it</p>",
        "<p>$\\hat{<em>x</em>}$</p>",
        # As Sphinx leaves it for a script.
        '<p>with <span class="math notranslate nohighlight">\\(x^2\\)</span> of it</p>',
        '<div class="math">\\[\\theta\\]</div>',
    ],
    "a substitution": ["<p>This is |version| of it.</p>", "<p>|release|</p>"],
    "a link": [
        "<p>See [the start](start.md).</p>",
        "<p>See [it](https://example.org).</p>",
        "<p>See [AS]_.</p>",
    ],
    "an option of a command": ["<p>milinfer demo –out demo</p>", "<p>[—help]</p>"],
    "a half of a merge": [
        "<p>&lt;&lt;&lt;&lt;&lt;&lt;&lt; HEAD</p>",
        "<p>&gt;&gt;&gt;&gt;&gt;&gt;&gt; main</p>",
    ],
    "a backtick": ["<p>See `f`.</p>", "<p>See `the page <x>`_.</p>"],
}

GOOD = [
    "<p>Text with <code>:func:`f`</code> and <strong>bold</strong> words.</p>",
    "<pre>.. autosummary::\n   :toctree: generated\n\nParameters\n----------</pre>",
    '<div class="highlight"><pre>**a**, $x$, `b` and {doc}`c`</pre></div>',
    '<p>with <span class="math"><math><mi>x</mi><mo>(</mo><mi>θ</mi></math></span> of it</p>',
    '<script src="_static/a.js"></script><img src="../_images/a.svg"><img src="data:image/png,a">',
    '<a href="https://example.org">a page</a><link rel="canonical" href="https://example.org/a">',
    "<style>a { background: url(a.svg) } b { background: url('data:image/svg+xml,a') }</style>",
    "<dt class=\"sig\">f(*args, **options: Any, text='$x$')</dt>",
    "<script>let a = `${b}` + '**c**';</script><style>a::b { c: d }</style>",
    "<head><title>:func:</title></head><p>Text.</p>",
    "<p>2 * 3 ** 4, |c_k| &lt; 1, |η|, 5 : 3, p(x|θ)/p(x|0), {a, b}, a::b and $5.</p>",
    "<p>a – b, 1–2, two–three and --out.</p>",
    "<p>Note: the name of a unit is in [pb], f(x)[0] and (see below).</p>",
    "<p>From 12:30:15 on; ratio 1:2:3.</p>",
    '<p>Before<br>after<img src="a.png"><hr></p><p>**</p>',
]


@pytest.mark.parametrize("html", GOOD)
def test_a_good_page_passes(html):
    assert faults_of_page(html, "a.html") == []
    assert faults_of_page(f"<html><body>{html}</body></html>", "a.html") == []


@pytest.mark.parametrize(("what", "html"), [(k, h) for k, group in BROKEN.items() for h in group])
def test_markup_in_the_text_is_named(what, html):
    faults = faults_of_page(f"<html><body>{html}</body></html>", "b/a.html")
    assert f"{what} was not rendered" in {f.what for f in faults}
    assert {f.page for f in faults} == {"b/a.html"}
    assert all(f.text for f in faults)
    # The same as code is what the page is about.
    assert faults_of_page(f"<pre>{html.replace('<p>', '').replace('</p>', '')}</pre>", "a") == []


def test_a_fault_shows_page_and_text():
    (fault,) = faults_of_page("<p>It is **bold** here</p>", "api/x.html")
    assert str(fault) == "api/x.html: bold text was not rendered: 'It is **bold** here'"


def test_a_command_of_tex_in_a_rendered_formula_is_a_fault():
    (fault,) = faults_of_page("<p>with <math><mi>\\foo</mi><mi>x</mi></math></p>", "a.html")
    assert (fault.what, fault.text) == ("a formula was not rendered", "\\foox")


@pytest.mark.parametrize(
    "html",
    [
        '<script async src="https://cdn.example.org/mathjax/tex-mml-chtml.js"></script>',
        '<script src="//cdn.example.org/a.js"></script>',
        '<link rel="stylesheet" href="http://example.org/a.css">',
        '<img src="https://example.org/a.png">',
        "<style>@import 'https://example.org/a.css';</style>",
        '<p style="background: url(https://example.org/a.png)">Text.</p>',
    ],
)
def test_what_is_loaded_from_a_network_is_a_fault(html):
    (fault,) = faults_of_page(f"<html><head>{html}</head><body></body></html>", "a.html")
    assert fault.what == "something is loaded from a network"
    assert "example.org" in fault.text


def test_styles_of_a_site_load_nothing_from_a_network(tmp_path):
    folder = site(tmp_path, ["a"])
    style = folder / "_static" / "a.css"
    style.write_text('@font-face { font-family: "a"; src: url("a.otf"); }')
    assert faults_of_site(folder, {"a"})[0] == []
    style.write_text('@font-face { font-family: "a"; src: url("https://example.org/a.otf"); }')
    (fault,) = faults_of_site(folder, {"a"})[0]
    assert (fault.page, fault.text) == ("_static/a.css", "https://example.org/a.otf")


def test_markup_does_not_reach_from_one_block_into_the_next():
    assert faults_of_page("<p>a **b</p><p>c** d</p><ul><li>$e</li><li>f$</li></ul>", "a") == []


def test_text_after_code_is_looked_at():
    assert faults_of_page("<p><code>a</code> then **b**</p>", "a.html")
    assert faults_of_page("<pre>a</pre><p>**b**</p>", "a.html")


def test_messages_of_docutils_are_faults():
    for name in ("system-message", "problematic"):
        (fault,) = faults_of_page(f'<span class="{name}">x</span>', "a.html")
        assert "docutils" in fault.what


def test_a_page_of_the_reference_needs_a_signature():
    html = "<h1>Sample</h1><p>Events.</p>"
    assert [f.what for f in faults_of_page(html, "a", needs_signature=True)] == [
        "there is no signature"
    ]
    assert faults_of_page(html, "a") == []
    assert faults_of_page(SIGNATURE.format("f"), "a", needs_signature=True) == []


def site(folder: Path, names: list[str]) -> Path:
    reference = folder / "api" / "generated"
    reference.mkdir(parents=True)
    (folder / "index.html").write_text("<p>Welcome.</p>")
    for name in names:
        (reference / f"milinfer.{name}.html").write_text(SIGNATURE.format(name))
    (folder / "_static").mkdir()
    (folder / "_static" / "a.html").write_text("<p>**not a page**</p>")
    return folder


def test_every_public_name_has_a_page(tmp_path):
    folder = site(tmp_path, ["a", "b"])
    assert faults_of_site(folder, {"a", "b"}) == ([], 3)
    faults, _ = faults_of_site(folder, {"a", "b", "c"})
    assert [f.what for f in faults] == ["no page has the signature of c"]
    # A page that only has the name in its file does not describe it.
    (folder / "api" / "generated" / "milinfer.c.html").write_text("<p>.. autofunction:: c</p>")
    faults, n_pages = faults_of_site(folder, {"a", "b", "c"})
    assert n_pages == 4
    assert len(faults) == 3


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_fails_with_the_site(tmp_path):
    names = sorted(public_names())
    folder = site(tmp_path / "site", names)
    done = run(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{len(names) + 1} pages, 0 of them with faults" in done.stdout
    (folder / "index.html").write_text("<p>See {doc}`start`.</p>")
    done = run(folder)
    assert done.returncode == 1
    assert "index.html: a role of Markdown was not rendered: 'See {doc}`start`.'" in done.stdout


def test_the_command_refuses_a_folder_without_pages(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 1
    assert "build the site first" in done.stderr
    assert "usage" in run().stderr
