"""Small files in the layout of NanoAOD, as uproot writes them."""

from __future__ import annotations

from contextlib import contextmanager
from unittest import mock

import awkward as ak
import numpy as np
import uproot
from uproot.writing import _cascadetree

from milinfer.datasets import vbf_hww

TITLES = {
    "LHEReweightingWeight": "points (w_var / w_nominal); "
    "[0] is c_HW=-1; [1] is c_HW=-0.5; [2] is c_HW=0; [3] is c_HW=0.5; [4] is c_HW=1",
    "LHEPdfWeight": "LHE pdf variation weights (w_var / w_nominal) for LHA IDs 306000 - 306001",
}


@contextmanager
def branch_titles(titles):
    """Let uproot write the titles of branches, which it makes up otherwise."""
    make = _cascadetree.Tree._branch_np

    def with_title(self, branch_name, *arguments, **options):
        made = make(self, branch_name, *arguments, **options)
        if branch_name in titles:
            made["fTitle"] = titles[branch_name]
        return made

    with mock.patch.object(_cascadetree.Tree, "_branch_np", with_title):
        yield


def nano_branches(n=30, seed=5, *, lhe=True, status=True, reco=False, vectors=None):
    """Branches of simulated events with several weights each; numbers are in single precision."""
    record, _ = vbf_hww.generate(n, {"c_HW": 0.0}, seed=seed).to_events()
    rng = np.random.default_rng(seed)
    parts = record.LHEPart
    incoming = parts.status == -1
    fields = {
        "pt": ak.where(incoming, 0.0, parts.pt),
        "eta": ak.where(incoming, 0.0, parts.eta),
        "phi": ak.where(incoming, 0.0, parts.phi),
        "mass": parts.mass,
        "incomingpz": ak.where(incoming, parts.pz, 0.0),
    }
    fields = {name: ak.values_astype(column, np.float32) for name, column in fields.items()}
    for name in ("pdgId", *(("status",) if status else ())):
        fields[name] = ak.values_astype(parts[name], np.int32)
    branches = {"LHEPart": ak.zip(fields)} if lhe else {}
    branches |= {
        "genWeight": rng.normal(1, 0.3, n).astype(np.float32),
        "LHEWeight_originalXWGTUP": rng.normal(1, 0.3, n).astype(np.float32),
    }
    for name, size in (vectors or {"LHEReweightingWeight": 5, "LHEPdfWeight": 2}).items():
        branches[name] = ak.from_regular(rng.normal(1, 0.5, (n, size)).astype(np.float32))
    if reco:
        for name in ("Jet", "FatJet"):
            own = {k: v[:, -2:] for k, v in fields.items() if k in ("pt", "eta", "phi", "mass")}
            branches[name] = ak.zip(own)
    branches["run"] = np.full(n, 7, np.uint32)
    return branches


def write_nano(path, branches, tree="Events", titles=TITLES):
    """Write branches to a TTree; returns the path."""
    types = {name: ak.type(ak.Array(column)).content for name, column in branches.items()}
    with branch_titles(titles), uproot.recreate(path) as file:
        file.mktree(tree, types)
        file[tree].extend(branches)
    return path
