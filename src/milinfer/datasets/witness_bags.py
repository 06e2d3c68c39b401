"""Draw labelled bags whose labels depend on two special instances (witnesses): OR, AND or XOR.

Instances are vectors of numbers.  Ordinary instances are drawn from a unit Gaussian.  A witness is
a special instance.  There are two kinds of witnesses: the first kind is drawn from a unit Gaussian
that is shifted by `distance` along the first axis, the second kind from one that is shifted along
the second axis.  A bag has at most one witness of each kind.  A rule decides which bags are
positive (label 1):

=======  =======================================  =================================================
rule     positive bags                            poolings before a linear layer that can learn it
=======  =======================================  =================================================
``or``   a witness of one kind, or of both kinds  all; noisy-or describes the rule exactly
``and``  witnesses of both kinds                  sum, mean, maximum, log-sum-exp
``xor``  a witness of exactly one kind            maximum, log-sum-exp
=======  =======================================  =================================================

With a sum or a mean, a witness of the first kind changes the output by the same amount whether or
not the bag has a witness of the second kind, whereas XOR needs changes of opposite sign.  With
attention, the output for bags with both kinds is between the outputs for bags with only the first
kind and with only the second kind.  With hidden layers between pooling and output
(``bag_hidden``), a sum, a mean and attention can learn XOR, too.

References
----------
The tasks are taken from milearn, arXiv:2512.01287, which uses digits of MNIST.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from milinfer.exceptions import ConfigurationError
from milinfer.typing import FloatArray, IntArray

__all__ = ["WitnessBags", "witness_bags"]

_RULES = ("or", "and", "xor")


class WitnessBags(NamedTuple):
    """Bags, their labels, and the kind of each instance.

    Parameters
    ----------
    bags
        For each bag, the features of its instances, shape (n_instances, n_features).
    labels
        Label of each bag, 0 or 1, shape (n_bags,).
    kinds
        For each bag, the kinds of its instances, shape (n_instances,): 1 or 2 for a witness, 0 for
        an ordinary instance.
    """

    bags: list[FloatArray]
    labels: IntArray
    kinds: list[IntArray]


def witness_bags(
    rule: Literal["or", "and", "xor"],
    n_bags: int,
    *,
    sizes: tuple[int, int] = (5, 15),
    n_features: int = 4,
    distance: float = 6.0,
    seed: int = 0,
) -> WitnessBags:
    """Draw labelled bags, half of them positive.

    There are four cases: a bag has no witness, the first kind, the second kind, or both kinds.
    Among the positive bags, all cases for which the rule is true are equally frequent.  Among the
    negative bags, all cases for which the rule is false are equally frequent.

    Parameters
    ----------
    rule
        ``"or"``, ``"and"`` or ``"xor"``.
    n_bags
        Number of bags.
    sizes
        Smallest and largest number of instances in a bag.
    n_features
        Number of features of an instance.
    distance
        Distance between the centres of witnesses and ordinary instances, in standard deviations.
    seed
        Random seed.

    Raises
    ------
    ConfigurationError
        If the rule is unknown, or if a number is not possible.

    Examples
    --------
    >>> bags, labels, kinds = witness_bags("xor", 4, seed=1)
    >>> labels
    array([0, 1, 0, 1])
    >>> [sorted(set(k.tolist()) - {0}) for k in kinds]
    [[], [1], [1, 2], [2]]
    """
    if rule not in _RULES:
        msg = f"rule={rule!r} is not one of {', '.join(_RULES)}"
        raise ConfigurationError(msg)
    problems = [
        (n_bags < 1, f"n_bags={n_bags} must be at least 1"),
        (not 2 <= sizes[0] <= sizes[1], f"sizes={sizes} must be increasing, and at least 2"),
        (n_features < 2, f"n_features={n_features} must be at least 2, one for each kind"),
        (not np.isfinite(distance), f"distance={distance} must be finite"),
    ]
    for wrong, message in problems:
        if wrong:
            raise ConfigurationError(message)
    rng = np.random.default_rng(seed)
    table = [(False, False), (True, False), (False, True), (True, True)]
    taken = [[pair for pair in table if _holds(rule, *pair) is answer] for answer in (False, True)]
    labels = np.arange(n_bags) % 2
    bags, kinds = [], []
    for number, label in enumerate(labels.tolist()):
        choices = taken[label]
        present = choices[(number // 2) % len(choices)]
        n = int(rng.integers(sizes[0], sizes[1] + 1))
        kind = np.zeros(n, np.int64)
        places = rng.permutation(n)[:2]
        for which in (0, 1):
            if present[which]:
                kind[places[which]] = which + 1
        instances = rng.normal(size=(n, n_features))
        witnesses = np.flatnonzero(kind)
        instances[witnesses, kind[witnesses] - 1] += distance
        bags.append(instances)
        kinds.append(kind)
    return WitnessBags(bags, labels, kinds)


def _holds(rule: str, first: bool, second: bool) -> bool:
    return {"or": first or second, "and": first and second, "xor": first != second}[rule]
