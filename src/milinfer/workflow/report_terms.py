"""Terms that a report explains: in the text where it uses them, and in a list at its end."""

from __future__ import annotations

import html
import re
from typing import NamedTuple

__all__ = ["TERMS", "Term", "linked", "used_terms"]


class Term(NamedTuple):
    """A word or symbol, the pattern with which it is found in a text, and its meaning."""

    name: str
    pattern: str
    meaning: str

    @property
    def anchor(self) -> str:
        """HTML id of the term in the list of terms.

        Examples
        --------
        >>> TERMS[0].anchor
        'term-i-eff'
        """
        letters = "".join(c if c.isascii() else f"u{ord(c):x}" for c in self.name.lower())
        return "term-" + re.sub(r"[^a-z0-9]+", "-", letters).strip("-")


TERMS = (
    Term(
        "I_eff",
        r"I_eff",
        "Information about the parameter in a dataset of this size: the squared response divided "
        "by "
        "the variance of the estimates from toys. An estimate that is corrected for its response "
        "has the standard deviation 1/√I_eff.",
    ),
    Term(
        "I_curv",
        r"I_curv",
        "Information according to the curvature of Λ: the mean of −d²Λ/dθ² at the estimates from "
        "toys. The curvature determines the width of the interval from a dataset.",
    ),
    Term(
        "I_MLE",
        r"I_MLE",
        "1/Var(θ̂) from the estimates of toys, not corrected for their response.",
    ),
    Term(
        "Bartlett ratio",
        r"Bartlett(?: ratio)?",
        "I_curv/I_eff, which is one for an exact likelihood ratio. Above one, intervals as trained "
        "are too narrow; below one, they are too wide.",
    ),
    Term(
        "response R",
        r"\bresponse R\b|\bR²|\bR the response\b",
        "How far the mean estimate moves when the true value moves by one; 1 for an estimator "
        "without bias.",
    ),
    Term(
        "c_cicc",
        r"c_cicc",
        "Curvature-to-information calibration constant: the factor by which Λ is multiplied so "
        "that "
        "intervals contain the true value as often as claimed. It is determined with toys from "
        "events that are not used to measure the coverage.",
    ),
    Term(
        "Λ",
        r"Λ",
        "Λ(θ) = ln[L(θ)/L(θ0)] for the dataset, with the reference point θ0. −2Λ is the cost that "
        "is "
        "minimised.",
    ),
    Term(
        "toys",
        r"\btoys?\b",
        "Pseudo-experiments: datasets of this size, drawn at random from simulated events of one "
        "true value.",
    ),
    Term(
        "event pool",
        r"\b(?:event pools?|pools? of events)\b",
        "The simulated events from which toys are drawn. Their statistical fluctuation is common "
        "to "
        "all toys and shifts every coverage; this is the error from the finite event pool.",
    ),
    Term(
        "coverage",
        r"\b[Cc]overages?\b",
        "Fraction of the toys whose interval contains the true value.",
    ),
    Term(
        "Clopper–Pearson",
        r"Clopper–Pearson",
        "Confidence interval for a probability, from the number of successes in a number of "
        "trials; "
        "here for a coverage, from the number of toys that cover.",
    ),
    Term(
        "Neyman belt",
        r"\b(?:Neyman )?belts?\b",
        "For every true value, the accepted values of the test statistic, from toys. The "
        "confidence "
        "set contains the true values for which the data are accepted, so that it covers by "
        "construction.",
    ),
    Term(
        "profiled",
        r"\bprofiled\b",
        "A parameter is profiled if it is set, at every value of the parameter of interest, to the "
        "value at which the likelihood is largest.",
    ),
    Term(
        "pull",
        r"\bpulls?\b",
        "Deviation from the expectation in units of its error. For a nuisance parameter: the "
        "fitted "
        "value minus its auxiliary measurement, in units of the error of this measurement.",
    ),
    Term(
        "impact",
        r"\bimpacts?\b",
        "Shift of the estimate if a nuisance parameter is moved by its error.",
    ),
    Term(
        "CLs",
        r"\bCLs\b",
        "p-value of signal plus background, divided by the p-value of the background alone. "
        "Values of the parameter with CLs below 5 % are excluded at 95 % CL.",
    ),
)
_PATTERN = "|".join(f"(?P<t{k}>{term.pattern})" for k, term in enumerate(TERMS))
_ANY = re.compile(_PATTERN)


def linked(text: str, seen: set[str] | None = None) -> str:
    """Escape a text for HTML, and make each term a link to its meaning.

    Parameters
    ----------
    text
        Plain text.
    seen
        Names of terms that already have a link in this part of the report and get no second one.
        The terms of this text are added to it.  Default: there are none.

    Returns
    -------
    str
        HTML.

    Examples
    --------
    >>> linked("a <b> of I_eff")[:40]
    'a &lt;b&gt; of <a class="term" href="#te'
    """
    seen = set() if seen is None else seen

    def link(found: re.Match[str]) -> str:
        term = TERMS[int((found.lastgroup or "t0")[1:])]
        if term.name in seen:
            return found.group()
        seen.add(term.name)
        meaning = html.escape(term.meaning)
        return f'<a class="term" href="#{term.anchor}" title="{meaning}">{found.group()}</a>'

    # What is escaped holds names of characters alone, in which no term occurs.
    return _ANY.sub(link, html.escape(text))


def used_terms(page: str) -> tuple[Term, ...]:
    """Find the terms to which a page has links, in the order of :data:`TERMS`.

    Examples
    --------
    >>> [term.name for term in used_terms(linked("c_cicc multiplies Λ"))]
    ['c_cicc', 'Λ']
    """
    return tuple(term for term in TERMS if f'href="#{term.anchor}"' in page)
