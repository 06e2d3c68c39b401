"""Copy the columns of a NanoAOD file that milinfer's features need.

python examples/data/skim.py NANOAOD.root SKIM.root
"""

from __future__ import annotations

import argparse

import awkward as ak
import uproot

COLLECTIONS = {
    "Electron": ("pt", "eta", "phi", "mass", "pdgId", "charge"),
    "Muon": ("pt", "eta", "phi", "mass", "pdgId", "charge"),
    "Jet": ("pt", "eta", "phi", "mass", "btagCSVV2", "partonFlavour"),
    "LHEPart": ("pt", "eta", "phi", "mass", "pdgId", "status", "incomingpz"),
}
COLUMNS = (
    *("run", "luminosityBlock", "event", "genWeight"),
    *("MET_pt", "MET_phi", "PuppiMET_pt", "PuppiMET_phi"),
    *("PuppiMET_ptJESUp", "PuppiMET_ptJESDown", "PuppiMET_phiJESUp", "PuppiMET_phiJESDown"),
)


def skim(source: str, target: str) -> None:
    with uproot.open(source) as file:
        tree = file["Events"]
        columns = {name: tree[name].array() for name in COLUMNS}
        for name, fields in COLLECTIONS.items():
            columns[name] = ak.zip({f: tree[f"{name}_{f}"].array() for f in fields})
    with uproot.recreate(target, compression=uproot.ZSTD(19)) as file:
        types = {name: ak.type(column).content for name, column in columns.items()}
        file.mktree("Events", types).extend(columns)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Copy the columns that features need.")
    parser.add_argument("source")
    parser.add_argument("target")
    options = parser.parse_args()
    skim(options.source, options.target)
