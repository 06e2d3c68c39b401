"""Terms that a report explains."""

from __future__ import annotations

import re

from milinfer.workflow.html_report import Report
from milinfer.workflow.report_terms import TERMS, linked, used_terms


def test_names_and_anchors_are_unique():
    assert len({t.name for t in TERMS}) == len({t.anchor for t in TERMS}) == len(TERMS)
    for term in TERMS:
        assert re.fullmatch(r"term-[a-z0-9-]*[a-z0-9]", term.anchor)
        assert re.search(term.pattern, term.name), term.name


def test_a_term_is_a_link_once_in_each_section():
    report = Report("title")
    for heading in ("One", "Two"):
        report.section(heading)
        report.text("I_eff of toys; I_eff again.")
        report.table(["method", "I_eff"], [["a", "1"]], "Toys are drawn; c_cicc is <b>.")
    page = report.to_html()
    assert page.count('href="#term-i-eff"') == page.count('href="#term-c-cicc"') == 2
    assert "is &lt;b&gt;." in page


def test_every_link_leads_to_a_meaning_and_only_used_terms_are_listed():
    report = Report("title")
    report.section("One")
    report.text("The Bartlett ratio of Λ.")
    page = report.to_html()
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert targets == {"one", "terms", "term-bartlett-ratio", "term-u3bb"}
    assert targets <= set(re.findall(r'id="([^"]+)"', page))
    assert page.count("<dt ") == 2
    assert [t.name for t in used_terms(page)] == ["Bartlett ratio", "Λ"]


def test_a_page_without_terms_has_no_list():
    report = Report("title")
    report.section("One")
    report.text("Nothing.")
    assert 'id="terms"' not in report.to_html()


def test_words_that_only_contain_a_term_are_left_alone():
    assert linked("recoverages toyshop impactful belted") == "recoverages toyshop impactful belted"


def test_provenance_is_folded():
    report = Report("title")
    with report.folded("More <b>"):
        report.text("seed 1")
    page = report.to_html()
    inside = page.partition("<details>")[2].partition("</details>")[0]
    assert inside.startswith("<summary>More &lt;b&gt;</summary>")
    assert "seed 1" in inside
