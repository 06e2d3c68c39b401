"""Damage files at random and read them: LHE, TOML, workspaces, saved files, models.

    python benchmarks/fuzz.py --minutes 60 --seed 1 [--quick]
    python benchmarks/fuzz.py --engine atheris --reader lhe --minutes 60     # coverage-guided

The damage and the checks are the same as in ``tests/bad_input/test_fuzz.py``: both ways of reading
an LHE file must agree, no event may be missing, and only milinfer's own errors may be raised.  The
reader ``saved`` is for calibrations, belts and histograms; for models ``model.json`` is damaged;
``points`` is for texts of parameter points, cards, and ids and descriptions of weights.  A file
that fails a check is kept in ``--keep``, with its traceback, and the exit status is 1.
``--engine atheris`` needs the extra ``fuzz``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from random import Random

from quick_size import parse

ROOT = Path(__file__).parents[1]
if str(ROOT / "tests") not in sys.path:
    sys.path.insert(0, str(ROOT / "tests"))
QUICK = {"minutes": 0.02}
READERS = ("lhe", "toml", "workspace", "saved", "model", "points")


def readers():
    from bad_input import json_mutations as j
    from bad_input import mutations as m
    from bad_input import point_mutations as p

    return {
        "lhe": (m.damaged_lhe, m.check_lhe, "fuzzed.lhe", m.LHE_SEEDS),
        "toml": (m.damaged_configuration, m.check_configuration, "fuzzed.toml", (m.TEMPLATE,)),
        "workspace": (j.damaged_json, j.check_workspace, "fuzzed.json", j.WORKSPACE_SEEDS),
        "saved": (j.damaged_json, j.check_saved, "fuzzed.json", j.SAVED_SEEDS),
        "model": (j.damaged_json, j.check_model, "fuzzed.json", j.MODEL_SEEDS),
        "points": (p.damaged_points, p.check_points, "fuzzed.txt", p.POINT_SEEDS),
    }


def run_random(names: list[str], minutes: float, seed: int, keep: Path) -> dict[str, object]:
    """Random damage from seeds that count up from ``seed``."""
    table = readers()
    figures = {
        n: {"runs": 0, "read": 0, "refused": 0, "findings": 0, "slowest_s": 0.0} for n in names
    }
    stop = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        while time.monotonic() < stop:
            for name in names:
                damage, check, file, seeds = table[name]
                path = Path(folder, file)
                random = Random(seed)
                path.write_bytes(damage(random, random.choice(seeds)))
                own = figures[name]
                own["runs"] += 1
                began = time.perf_counter()
                try:
                    own["read" if check(path) else "refused"] += 1
                except Exception:
                    own["findings"] += 1
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{name}-{seed}{path.suffix}").write_bytes(path.read_bytes())
                    (keep / f"{name}-{seed}.txt").write_text(traceback.format_exc())
                own["slowest_s"] = max(own["slowest_s"], time.perf_counter() - began)
            seed += 1
    return {"minutes": minutes, "next_seed": seed, **figures}


def run_atheris(name: str, minutes: float, keep: Path) -> None:
    """Coverage-guided; libFuzzer's own output, and a crash file in ``keep``.

    Only modules whose first import is inside ``instrument_imports`` are seen.  milinfer imports
    many when they are first used, so that the seeds are read there once.
    """
    import atheris

    early = [module for module in sys.modules if module.partition(".")[0] == "milinfer"]
    if early:
        msg = f"{early[0]} is imported already: its coverage cannot be seen; use a new process"
        raise RuntimeError(msg)
    folder = Path(tempfile.mkdtemp())
    with atheris.instrument_imports(include=["milinfer"]):
        damage, check, file, seeds = readers()[name]
        for data in seeds:
            (folder / file).write_bytes(data)
            check(folder / file)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    corpus = folder / "corpus"
    corpus.mkdir()
    keep.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(seeds):
        (corpus / str(i)).write_bytes(data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        """Half of the mutations are of bytes, which seldom leave a file that can be parsed."""
        random = Random(seed)
        if random.random() < 0.5:
            return atheris.Mutate(data, most)
        return damage(random, data)[:most]

    def one(data: bytes) -> None:
        (folder / file).write_bytes(data)
        check(folder / file)

    arguments = [sys.argv[0], f"-max_total_time={60 * minutes:.0f}", f"-artifact_prefix={keep}/"]
    atheris.Setup([*arguments, "-max_len=20000", str(corpus)], one, custom_mutator=mutate)
    atheris.Fuzz()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", choices=[*READERS, "all"], default="all")
    parser.add_argument("--engine", choices=["random", "atheris"], default="random")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--json", type=Path)
    options = parse(parser, QUICK, arguments)
    names = list(READERS) if options.reader == "all" else [options.reader]
    if options.engine == "atheris":
        if len(names) > 1:
            parser.error("--engine atheris follows one reader: give --reader")
        run_atheris(names[0], options.minutes, options.keep)
        return
    figures = run_random(names, options.minutes, options.seed, options.keep)
    print(json.dumps(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    if any(figures[n]["findings"] for n in names):
        sys.exit(1)


if __name__ == "__main__":
    main()
