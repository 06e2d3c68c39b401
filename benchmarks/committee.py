"""Answers to questions of a statistics committee about a fit, as numbers.

The result has one key for each group of questions:

* ``goodness_of_fit``: a network for vbf_hww is fitted to datasets at c_HW = 0.1, and
  :func:`milinfer.diagnostics.goodness_of_fit` tests each dataset.  The datasets are of three kinds.
  ``as simulated``: the p-values have to be uniform.  ``jet scale +2 %``: jets in the data have 2 %
  more energy, which the model does not contain.  ``background 5 %``: 5 % of the data events are
  from an unknown process, whose events combine the leptons and the jets of different VBF events at
  c_HW = 0.  Each test has the fraction of datasets with p < 5 % and its binomial error;
* ``flat_azimuth``: the same for data in which 10 % of the events have a flat distribution of the
  azimuth between the jets, or of this and of the azimuth between the leptons, with the power of the
  best possible test;
* ``goodness_of_fit_with_nuisances``: p-values under a model whose nuisance parameters are profiled;
* ``expected``: Asimov data with an uncertain background and trigger efficiency.  It has the largest
  slope of −2 ln L at the point for which the Asimov data were made, the width of their interval
  divided by the width of the median toy (also for four times the luminosity), and profiled toys per
  second of CPU time, with two nuisance parameters;
* ``bands``: quantiles of ±1σ and ±2σ of toys beside their values in closed form;
* ``limits``: CLs limits beside pyhf, beside toys, and beside a belt of upper limits;
* ``expected_of_network``: widths of Asimov data of a trained network at five true values, and how
  often the intervals of other datasets are in the bands of the toys;
* ``impacts``: the quadratic sum of the statistical and the systematic error divided by the total
  error; the largest differences to cabinetry, to pyhf, and to closed forms by three definitions of
  an impact, in units of the error;
* ``maxima``: how often data and toys find another maximum, for a likelihood with two maxima;
* ``blinding``: what changes in a blind analysis if its data change, and if they are opened;
* ``from_other_results``: figures that other benchmarks measure, repeated from their result files:
  coverages with nuisance parameters and of a combined fit, the rate of profiled toys with five
  nuisance parameters, and the error from finite simulation.

``commands`` has for each group the options of the run that measured it.  With ``--groups`` and
``--json`` only these groups are measured, and all others stay as they are in the file.

The last line on standard output is one line of JSON.

python benchmarks/committee.py [--events 40000] [--datasets 200] [--simulations 10] [--toys 1000]
                               [--groups impacts limits] [--json FILE] [--quick]
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bars import short
from committee_groups.blinding import blinding_results
from committee_groups.expected import band_results, expected_results, limit_results
from committee_groups.fit_tests import (
    FittedModel,
    flat_azimuth_results,
    goodness_of_fit_results,
    message,
)
from committee_groups.impacts import impact_results
from committee_groups.maxima import maximum_results
from committee_groups.nuisance_fit_tests import nuisance_results
from committee_groups.other_results import other_results
from committee_groups.trained_network import network_results
from quick_size import parse

from milinfer.exceptions import MilinferWarning

QUICK = {
    "events": 500,
    "datasets": 2,
    "simulations": 2,
    "toys": 50,
    "data": 200,
    "nuisance_datasets": 2,
    "network_events": 500,
    "network_pool": 2000,
    "intervals": 5,
}


def groups(options: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    """How each group is measured, by its key in the result."""
    fitted = FittedModel(options)
    return {
        "goodness_of_fit": lambda: goodness_of_fit_results(fitted),
        "flat_azimuth": lambda: flat_azimuth_results(fitted),
        "goodness_of_fit_with_nuisances": lambda: nuisance_results(options),
        "expected": lambda: expected_results(options),
        "bands": lambda: band_results(options),
        "limits": lambda: limit_results(options),
        "expected_of_network": lambda: network_results(options),
        "impacts": impact_results,
        "maxima": lambda: maximum_results(options),
        "blinding": lambda: blinding_results(options),
        "from_other_results": other_results,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the groups that are asked for."""
    names = list(groups(argparse.Namespace()))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--events", type=int, default=40_000, help="simulated events at each parameter point"
    )
    parser.add_argument("--data", type=int, default=1000, help="events in a dataset")
    parser.add_argument("--datasets", type=int, default=200, help="number of datasets of each kind")
    parser.add_argument(
        "--nuisance-datasets",
        type=int,
        default=1000,
        help="number of datasets that are fitted with nuisance parameters",
    )
    parser.add_argument(
        "--simulations",
        type=int,
        default=10,
        help="number of independent simulations, each with these events",
    )
    parser.add_argument("--toys", type=int, default=1000)
    parser.add_argument(
        "--network-events",
        type=int,
        default=20_000,
        help="training events at each point, of the network with expected intervals",
    )
    parser.add_argument(
        "--network-pool",
        type=int,
        default=200_000,
        help="events at each point from which the toys of this network are drawn",
    )
    parser.add_argument(
        "--intervals",
        type=int,
        default=2000,
        help="datasets for each true value with a likelihood of two maxima",
    )
    parser.add_argument("--groups", nargs="+", choices=names, default=names)
    parser.add_argument(
        "--json",
        type=Path,
        help="also write the result to this file; groups that are not measured stay as they are",
    )
    parser.add_argument("--workers", type=int, default=2)
    options = parse(parser, QUICK, arguments)
    warnings.simplefilter("ignore", MilinferWarning)
    measured: dict[str, Any] = {}
    for name, measure in groups(options).items():
        if name in options.groups:
            begin = time.process_time()
            measured[name] = measure()
            message(f"{name}: {time.process_time() - begin:.0f} s of CPU")
    command = shlex.join(map(str, sys.argv[1:] if arguments is None else arguments))
    before: dict[str, Any] = {}
    if options.json is not None and options.json.exists() and options.groups != names:
        before = json.loads(options.json.read_text("utf-8"))
    result = before | measured
    commands = before.get("commands", {}) | dict.fromkeys(measured, command)
    ordered = {name: result[name] for name in names if name in result} | {"commands": commands}
    text = json.dumps(ordered | {"short": short("committee", ordered)}, ensure_ascii=False)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
