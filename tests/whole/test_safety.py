"""What milinfer promises not to do with files of others: SECURITY.md."""

from __future__ import annotations

import ast
import io
import pickle
import xml.etree.ElementTree as ET
import zipfile
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest

from milinfer import BagLikelihood, Sample
from milinfer.exceptions import ModelError, SampleError
from milinfer.learning.model_files import pack_model, unpack_model
from milinfer.learning.networks.configs import TrainingConfig
from milinfer.workflow.html_report import Report
from models import gaussian_samples
from sources import tree_of

PACKAGE = Path(find_spec("milinfer").origin).parent
ROOT = Path(__file__).parents[2]
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
# They run what a file says, or leave the folder that they are given.
MODULES = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "tarfile", "cloudpickle"}
CALLS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    "os.system", "os.popen", "subprocess.call", "subprocess.run", "subprocess.Popen",
    "keras.models.load_model", "keras.saving.load_model", "pickle.load", "pickle.loads",
    "pd.read_hdf", "pd.read_pickle", "yaml.load", "zipfile.ZipFile.extractall",
    "keras.config.enable_unsafe_deserialization", "pyhf.readxml.parse", "urllib.request.urlopen",
}  # fmt: skip


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def forbidden(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] if (node.module or "").split(".")[0] in MODULES else []
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            found += [name] if name in CALLS | ATTRIBUTES else []
            found += [
                f"{name}({k.arg}=True)"
                for k in node.keywords
                if k.arg in ("shell", "allow_pickle", "unsafe", "resolve_entities")
                and not (isinstance(k.value, ast.Constant) and k.value.value is False)
            ]
            safe = [k for k in node.keywords if k.arg == "safe_mode"]
            found += [name for k in safe if not getattr(k.value, "value", None)]
    return found


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from pickle import loads", "eval('1')", "exec('1')",
        "np.load(f, allow_pickle=True)", "np.load(f, allow_pickle=flag)",
        "subprocess.check_output(c, shell=True)", "keras.models.load_model(f)", "pd.read_hdf(f)",
        "keras.saving.deserialize(f, safe_mode=False)",
    ],
)  # fmt: skip
def test_the_search_finds_what_is_forbidden(text):
    assert forbidden(ast.parse(text))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_nothing_runs_what_a_file_says(path):
    assert forbidden(tree_of(PACKAGE / path)) == []


def test_xml_is_parsed_where_no_entities_can_be():
    """Only elements that milinfer has cut out itself, so that nothing can declare an entity."""
    parsers = {
        str(path)
        for path, tree in ((p, tree_of(PACKAGE / p)) for p in FILES)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and dotted(node.func).startswith(("ET.", "xml."))
    }
    assert parsers == {"io/lhe/header.py", "io/lhe/writing.py"}
    with pytest.raises(ET.ParseError):
        ET.fromstring('<header><!DOCTYPE x [<!ENTITY e "a">]>&e;</header>')


class Touch:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("suffix", [".parquet", ".root", ".lhe"])
def test_a_pickle_is_not_opened(tmp_path, suffix):
    file = tmp_path / f"a{suffix}"
    file.write_bytes(pickle.dumps(Touch(tmp_path / "touched")))
    with pytest.raises(ValueError, match=r"copy|produce|not an LHE"):
        Sample.from_file(file, point={})
    assert not (tmp_path / "touched").exists()


def test_pickles_in_archives_of_numpy_are_not_opened(tmp_path):
    from milinfer.datasets.public import _read_array

    file = tmp_path / "a.npz"
    array = io.BytesIO()
    np.save(array, np.array([Touch(tmp_path / "touched")], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../x.npy", array.getvalue())
    with pytest.raises((SampleError, ValueError)):
        _read_array(file, "../../x")
    assert not (tmp_path / "touched").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


@pytest.fixture(scope="module")
def packed():
    model = BagLikelihood(
        head="multiclass", bag_size=5, degree=2, training=TrainingConfig(epochs=1, batch_events=300)
    )
    model = model.fit(gaussian_samples([-0.5, 0.0, 0.5], 300, 1))
    return pack_model(model, model.fitted)


def array_kinds(data: bytes) -> set[str]:
    items = []
    with h5py.File(io.BytesIO(data)) as file:
        file.visititems(lambda _, item: items.append(item))
        return {item.dtype.kind for item in items if isinstance(item, h5py.Dataset)}


def test_a_saved_model_is_numbers_and_settings(packed):
    """No serialised layers, which Keras would build, and no code."""
    assert {name.rpartition(".")[2] for name in packed} == {"json", "h5"}
    for name, data in packed.items():
        if name.endswith(".h5"):
            assert array_kinds(data) <= set("fiu")
    assert b"class_name" not in packed["model.json"]


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", "sub/x"])
def test_a_packed_model_stays_in_its_folder(packed, name):
    with pytest.raises(ModelError, match="is outside the folder"):
        unpack_model({**packed, name: b"x"})


def test_every_text_of_a_report_is_escaped():
    bad = '<script>alert("x")</script>&\'"><img src=x onerror=y>'
    report = Report(bad, bad)
    report.section(bad)
    report.text(bad)
    report.table([bad], [[bad]], caption=bad)
    html = report.to_html()
    assert "<script" not in html
    assert "<img" not in html
    assert 'alert("x")' not in html


def test_the_policy_says_what_is_trusted():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for word in ("pickle", "Supported versions", "private", "LHE", "model", "workspace", "limits"):
        assert word in text, word
    assert "@" not in text  # no addresses


def test_the_promises_are_held_by_tests_that_exist():
    """docs/promises.md names a test in each row; ``file::test`` has to be there."""
    import re

    text = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) >= 15
    for file, test in named:
        path = ROOT / file
        assert path.is_file(), file
        names = {n.name for n in ast.walk(ast.parse(path.read_text("utf-8")))
                 if isinstance(n, ast.FunctionDef)}  # fmt: skip
        assert not test or test in names, f"{file}::{test}"
    for row in text.splitlines():
        if row.startswith("|") and not row.startswith(("| ---", "| promise")):
            assert "`tests/" in row, row
