"""Likelihoods that an earlier milinfer has published are read, and say what they said then.

``tests/data/make_published1.py`` has made them; each has values of −2 ln L at a few points.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import milinfer as mil
from milinfer.likelihood.published_reader import read
from milinfer.likelihood.publishing import published_schema
from published_costs import VALIDATOR
from scripts import load_script

FOLDER = Path(__file__).parents[1] / "data" / "published1"
FOLDERS = sorted(path.name for path in FOLDER.iterdir())
# The first knows no key "calibrated_for", and refuses keys that it does not know.
FIRST, SECOND = (FOLDER / name / "read_likelihood.py" for name in ("combined", "calibrated"))


def content_of(name):
    return json.loads((FOLDER / name / "likelihood.json").read_text(encoding="utf-8"))


def values(content, key):
    """Texts that stand under a key, anywhere."""
    if isinstance(content, dict):
        own = {content[key]} if isinstance(content.get(key), str) else set()
        return own.union(*(values(item, key) for item in content.values()))
    if isinstance(content, list):
        return set().union(*(values(item, key) for item in content))
    return set()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_says_what_it_said_when_it_was_written(name):
    content = content_of(name)
    assert content["version"] == 1
    likelihood = read(FOLDER / name)
    assert len(content["checks"]) == 5
    assert likelihood.check() < 1e-8
    assert mil.load_published(FOLDER / name).title == content["title"]
    for path in (FOLDER / name, FOLDER / name / "likelihood.json"):
        facts = mil.inspect_file(path)
        assert facts["kind"] == "published likelihood"
        assert facts["title"] == content["title"]
    # The schema of this version does not become stricter.
    VALIDATOR.validate(content)


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("reader", [FIRST, SECOND], ids=["first", "second"])
def test_the_file_that_was_published_still_reads_it(reader, name):
    module = load_script(reader)
    assert module.VERSION == 1
    if name == "calibrated" and reader == FIRST:
        with pytest.raises(module.LikelihoodError, match="'calibrated_for', which this file"):
            module.read(FOLDER / name)
        return
    assert module.read(FOLDER / name).check() < 1e-8


def test_intervals_that_a_calibration_was_made_for():
    """Folders that were written before it was recorded do not say it."""
    (made,) = mil.load_published(FOLDER / "calibrated").calibrated_for
    assert made == (("mu",), 0.9545, True)
    (old,) = mil.load_published(FOLDER / "widened_in_two_parameters").calibrated_for
    assert not old.recorded
    assert "one confidence level, which this file does not say" in str(old)
    assert mil.inspect_file(FOLDER / "calibrated")["calibrated for"] == "95.45% intervals of mu"
    assert "calibrated for" not in mil.inspect_file(FOLDER / "histogram")


def test_the_folders_have_every_kind():
    kinds = set().union(*(values(content_of(name), "kind") for name in FOLDERS))
    schema = json.dumps(published_schema())
    for kind in kinds:
        assert f'{{"const": "{kind}"}}' in schema or kind in ("normal", "poisson")
    everything = {c for c in values(published_schema(), "const") if c != "milinfer-likelihood"}
    assert everything <= kinds
