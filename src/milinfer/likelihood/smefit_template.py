"""Program that SMEFiT runs as the external χ² of a constraint.

NAME is replaced by the name of the dataset.  The program is a separate file beside the numbers, and
does not import milinfer.
"""

from __future__ import annotations

__all__ = ["EXTERNAL_CHI2"]

EXTERNAL_CHI2 = '''"""External chi2 of SMEFiT for NAME: the polynomial of NAME_polynomial.json.

Written by milinfer.  Parameters that are not fitted are zero.
"""

import json
import pathlib

import jax.numpy as jnp
import numpy as np


class MilinferChi2:
    def __init__(self, coefficients, rge_dict=None):
        path = pathlib.Path(__file__).resolve().parent / "NAME_polynomial.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        if rge_dict is not None:
            raise NotImplementedError(
                "NAME is a constraint at one scale: evolve it, or fit without rge"
            )
        names = list(coefficients.name)
        self.project = np.array(
            [[float(name == own) for name in names] for own in record["parameters"]]
        )
        self.best = np.array(record["best"])
        self.errors = np.array(record["errors"])
        self.exponents = np.array(record["exponents"])
        self.coefficients = np.array(record["coefficients"])

    def compute_chi2(self, coefficient_values):
        x = (jnp.dot(self.project, coefficient_values) - self.best) / self.errors
        powers = [jnp.ones_like(x)]
        for _ in range(int(self.exponents.max())):
            powers.append(powers[-1] * x)
        table = jnp.stack(powers)
        monomials = table[self.exponents, np.arange(len(self.best))].prod(axis=1)
        return jnp.dot(monomials, self.coefficients)
'''
