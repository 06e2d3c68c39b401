"""χ² of a number that is linear in its parameters: all results of fits are known."""

from __future__ import annotations

import numpy as np
from iminuit.cost import Cost

__all__ = ["LinearCost"]


class LinearCost(Cost):
    """χ² of one number that a linear function of mu, a and b predicts."""

    def __init__(self, slopes, observed, error):
        self.slopes, self.observed, self.error = np.array(slopes), observed, error
        super().__init__(dict.fromkeys(("mu", "a", "b")), 0)

    def _errordef(self):
        return 1.0

    def _ndata(self):
        return 1

    def _has_grad(self):
        return True

    def _value(self, args):
        return ((np.dot(self.slopes, args) - self.observed) / self.error) ** 2

    def _grad(self, args):
        return 2 * self.slopes * (np.dot(self.slopes, args) - self.observed) / self.error**2
