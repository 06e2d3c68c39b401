"""The study of bags of digits: no digit is on both sides, and bags are what they are said to be."""

from __future__ import annotations

import numpy as np
import pytest

from studies.labelled_bags import bags_of_digits as study


def images(digits):
    return [image.tobytes() for image in digits.pixels]


def test_no_image_chooses_settings_or_trains_where_it_is_tested():
    every = images(study.all_digits())
    assert len(set(every)) == 1797
    apart, others = study.set_apart(3)
    assert sorted(images(apart) + images(others)) == sorted(every)
    tested = []
    for train, test in study.image_folds(others, 4, 3):
        assert not set(images(train)) & set(images(test))
        assert not set(images(apart)) & set(images(test))
        tested += images(test)
    assert sorted(tested) == sorted(images(others))


@pytest.mark.parametrize("task", ["three", "mean"])
def test_bags_are_what_they_are_said_to_be(task):
    apart, _ = study.set_apart(0)
    bags = study.form_bags(task, apart, 101, np.random.default_rng(1))
    if task == "three":
        threes = np.sum(bags.digits == 3, axis=1)
        np.testing.assert_array_equal(threes, np.arange(101) % 2 == 0)
        np.testing.assert_array_equal(bags.labels, threes)
    else:
        np.testing.assert_allclose(bags.labels, bags.digits.mean(axis=1))
    known = dict(zip(images(apart), apart.digits.tolist(), strict=True))
    shown = [[known[image.tobytes()] for image in bag] for bag in bags.pixels]
    np.testing.assert_array_equal(shown, bags.digits)


def test_no_image_is_on_both_sides_of_a_fold_of_the_search(monkeypatch):
    seen = {}

    def search(estimator, x, y, grid, *, folds, seed):
        seen.update(x=x, folds=folds)

    monkeypatch.setattr(study.mil.learning, "stepwise_search", search)
    model, sizes = study.MODELS["quick"][0], study.SIZES["quick"]
    study.choose(model, study.set_apart(0)[0], sizes, 0)
    for train, test in seen["folds"]:
        sides = [{i.tobytes() for bag in seen["x"][rows] for i in bag} for rows in (train, test)]
        assert len(sides[1]) > 100
        assert not sides[0] & sides[1]
