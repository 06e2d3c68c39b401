"""Every wrong key is named, with what is allowed."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import milinfer as mil
from milinfer.exceptions import ConfigurationError, MilinferError
from milinfer.workflow.configuration import (
    AnalysisConfig,
    DataSection,
    FilesSection,
    ModelSection,
    SamplesSection,
    ToysSection,
    TrackingSection,
)

LEAST = '[[samples.train]]\npath = "a.root"\n[data]\npath = "d.root"\n'


def read(tmp_path, text):
    file = tmp_path / "analysis.toml"
    file.write_text(text, encoding="utf-8")
    return AnalysisConfig.from_file(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[analysis]\ntile = 'a'\n", "analysis.tile: unknown key; did you mean 'title'? known: t"),
        ("[toy]\n", "toy: unknown key; did you mean 'toys'?"),
        ("[[model]]\nhead = 'polynom'\n", "model[1].head: 'polynom' is not 'multiclass', 'poly"),
        ("[[model]]\n[[model]]\nhead = 'parametrised'\nbag = 1\n", "model[2].bag: unknown key"),
        ("[[model]]\n[[model]]\n", "two models are called multiclass"),
        ("[[model]]\nname = '../x'\n", "model[1].name: "),
        ("model = []\n", "model: List should have at least 1 item"),
        ("[toys]\nnumber = 10\n", "toys.number: Input should be greater than or equal to 100"),
        ("[toys]\nnumber = '1000'\n", "toys.number: Input should be a valid integer (not '1000')"),
        ("[toys]\ntruth = nan\n", "toys.truth: "),
        ("[toys]\ntruth = inf\n", "toys.truth: "),
        ("[toys]\noracle = true\n", "toys: oracle = true computes the exact ratio"),
        ("[toys]\noracle_at = 0.0\n", "toys: oracle_at is only for the exact ratio"),
        ("[toys]\nbelt_at = 1979-05-27\n", "toys.belt_at: "),
        ("[templates]\nbins_2d = [4]\n", "templates.bins_2d"),
        ("folder = '/'\n", "folder: unknown key"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, words):
    with pytest.raises(ConfigurationError) as error:
        read(tmp_path, text + LEAST)
    assert words in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "analysis.toml"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["samples: missing", "data: missing"]),
        ("[samples]\n[data]\n", ["samples.train: missing", "data.path: missing"]),
        (LEAST + "[samples\n", ["is not TOML", "line"]),
        ("[[samples.train]]\npath = 3\n[data]\npath = []\n", ["samples.train[1].path: ", "data.p"]),
        ('[[samples.tune]]\npath="t"\n' + LEAST, ["samples: has no files in 'evaluate'"]),
        ("[samples]\nfractions = [0.5, 0.5]\n" + LEAST, ["samples: fractions [0.5, 0.5] leave"]),
        (
            LEAST + "[[samples.train]]\npath = 'b'\npoint = { c_HW = 1.0 }\n"
            "[[samples.train]]\npath = 'c'\npoint = { cHW = 0.0 }\n",
            ["train[2].point has c_HW; train[3].point has cHW; give the same para"],
        ),
    ],
)
def test_everything_wrong_is_said_at_once(tmp_path, text, words):
    with pytest.raises(ConfigurationError) as error:
        read(tmp_path, text)
    for word in words:
        assert word in str(error.value)


def test_only_the_beginning_of_a_file_that_is_too_large_is_read(tmp_path):
    """A sparse file of 8 GB took all memory before its size was looked at."""
    file = tmp_path / "a.toml"
    with file.open("wb") as handle:
        handle.truncate(1 << 33)
    with pytest.raises(ConfigurationError, match="more than 1048576 characters"):
        AnalysisConfig.from_file(file)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigurationError, match=r"cannot read .*none\.toml"):
        AnalysisConfig.from_file(tmp_path / "none.toml")
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot read"):
        AnalysisConfig.from_file(tmp_path / "a.toml")


@given(st.text())
def test_no_text_breaks_the_reader(text):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "analysis.toml")
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        with pytest.raises(MilinferError):
            AnalysisConfig.from_file(file)


def test_defaults_of_the_template_are_those_of_the_sections(tmp_path):
    """The commented file says what the code does."""
    config = AnalysisConfig.from_file(mil.init_analysis(tmp_path / "analysis.toml"))
    text = (tmp_path / "analysis.toml").read_text(encoding="utf-8")
    for section, default in (
        (config.samples, SamplesSection(train=[FilesSection(path="a")])),
        (config.toys, ToysSection()),
    ):
        for name, value in section.model_dump(exclude={"train"}).items():
            assert value == default.model_dump()[name], name
    for section in (AnalysisConfig, SamplesSection, ModelSection, ToysSection):
        for name in section.model_fields:
            assert name in text or name in ("folder", "source")
    with pytest.raises(ConfigurationError, match="exists already"):
        mil.init_analysis(tmp_path / "analysis.toml")
    mil.init_analysis(tmp_path / "analysis.toml", overwrite=True)
    with pytest.raises(ConfigurationError, match="there is no folder"):
        mil.init_analysis(tmp_path / "no" / "analysis.toml")


@pytest.mark.parametrize("path", ["9" * 3000, "*/" + "9" * 3000])
def test_a_name_that_is_too_long_is_no_file(tmp_path, path):
    """Regression: an error of the system came out, found by damaging configurations at random."""
    config = read(tmp_path, LEAST)
    with pytest.raises(ConfigurationError, match=r"9.*; correct the path"):
        config.files(path)


def test_patterns_find_files(tmp_path):
    for name in ("b.root", "a.root", "c.txt"):
        (tmp_path / name).touch()
    config = AnalysisConfig(
        samples=SamplesSection(train=[FilesSection(path="*.root")]),
        data=DataSection(path=["c.txt"]),
        folder=tmp_path,
    )
    assert [p.name for p in config.files("*.root")] == ["a.root", "b.root"]
    assert config.files([str(tmp_path / "c.txt"), "?.root"])[0].name == "c.txt"
    for wrong in ("d.root", "*.lhe", ["a.root", "d.root"]):
        with pytest.raises(ConfigurationError, match="no file"):
            config.files(wrong)


def test_tracking_is_checked_like_the_rest(tmp_path):
    section = read(tmp_path, LEAST + '[tracking]\nto = "wandb"\noffline = true\n').tracking
    assert (section.to, section.experiment, section.offline) == ("wandb", "milinfer", True)
    assert read(tmp_path, LEAST).tracking is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tracking]\n", "tracking.to: missing"),
        ("[tracking]\nto = 'comet'\n", "tracking.to: 'comet' is not 'tensorboard', 'mlflow' or"),
        (
            "[tracking]\nto = 'mlflow'\nproject = 'a'\n",
            "tracking.project: unknown key; known: to, ",
        ),
        (
            "[tracking]\nto = 'mlflow'\noffline = true\n",
            "tracking: offline = true works only",
        ),
        ("[tracking]\nto = 'mlflow'\nrun = '../a'\n", "tracking.run: "),
    ],
)
def test_what_is_wrong_with_tracking_is_named(tmp_path, text, words):
    with pytest.raises(ConfigurationError) as error:
        read(tmp_path, text + LEAST)
    assert words in str(error.value)


def test_the_template_offers_every_key_of_tracking():
    from importlib.resources import files

    text = files("milinfer.workflow").joinpath("analysis_template.toml").read_text(encoding="utf-8")
    after = text.split("# [tracking]\n")[1]
    keys = [line.split()[1] for line in after.splitlines()]
    assert keys == list(TrackingSection.model_fields)
    plain = "\n".join(line.removeprefix("# ") for line in after.splitlines())
    assert TrackingSection(**tomllib.loads(plain)).to == "tensorboard"


JES = '[[systematics]]\nname = "jes"\nkind = "scale"\nup = 1.03\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (JES, "systematics[1]: jes has no 'down'"),
        (JES + "down = 1.03\n", "systematics[1]: jes has up = down = 1.03"),
        (JES + "down = -0.97\n", "systematics[1]: jes has down = -0.97, which must be positive"),
        (JES + "down = 'x'\n", "jes has down = 'x', but kind = 'scale' needs a factor"),
        (JES + "down = 0.97\nfactor = 1\n", "systematics[1].factor: unknown key; did you mean"),
        (
            JES + "down = 0.97\nfactors = { signal = [0.9, 1.1] }\n",
            "jes has 'factors', which does not belong to kind = 'scale' (it has objects, up, down)",
        ),
        (
            (JES + "down = 0.97\n") * 2,
            "systematics[2]: jes is also the name of systematics[1]",
        ),
        (
            "[[systematics]]\nname = 'lumi'\nkind = 'saved'\n",
            "systematics[1]: lumi is the name of the luminosity; rename it, or give data.lum",
        ),
        (
            "[[systematics]]\nname = 'c_HW'\nkind = 'saved'\n[samples]\nparameters = ['c_HW']\n",
            "systematics[1]: c_HW is the parameter of the samples",
        ),
        (
            "[[systematics]]\nname = 'e'\nkind = 'normalisation'\nfactors = { tt = [0.9, 1.1] }\n",
            "e has factors of 'tt'; the only process of this analysis",
        ),
        (
            (
                "[[systematics]]\nname = 'e'\nkind = 'normalisation'\n"
                "factors = { signal = [0.9, 1.1] }\n"
            ),
            "systematics: e changes the number of events, but the number is fitted only with",
        ),
        *(
            (
                (
                    "[[systematics]]\nname = 'e'\nkind = 'files'\n"
                    f"files = [{{ of = 'a.lhe', up = '{up}', down = '{down}' }}]\n"
                ),
                f"e has the same file twice among of = 'a.lhe', up = '{up}' and down = '{down}'",
            )
            for up, down in (("b.lhe", "b.lhe"), ("a.lhe", "b.lhe"), ("b.lhe", "a.lhe"))
        ),
        ("[[systematics]]\nname = 'e'\nkind = 'tree'\n", "systematics[1].kind: 'tree' is not "),
        (
            "[[systematics]]\nname = 'e'\nkind = 'weight'\nup = 'a'\ndown = 1.0\n",
            "e has down = 1.0, but kind = 'weight' needs the name of a weight",
        ),
        (
            (
                "[[systematics]]\nname = 'e'\nkind = 'files'\n"
                "files = [{ of = 'a', up = 'b', down = 'c' }, { of = 'a', up = 'd', down = 'e' }]\n"
            ),
            "e has two entries of 'a'",
        ),
    ],
)
def test_what_is_wrong_with_a_nuisance_parameter_is_named(tmp_path, text, words):
    with pytest.raises(ConfigurationError) as error:
        read(tmp_path, text + LEAST)
    assert words in str(error.value)


def test_a_luminosity_uncertainty_needs_a_luminosity(tmp_path):
    with pytest.raises(ConfigurationError, match="luminosity_uncertainty needs a luminosity"):
        read(tmp_path, LEAST + "luminosity_uncertainty = 0.02\n")
    config = read(tmp_path, LEAST + "luminosity = 10.0\nluminosity_uncertainty = 0.02\n")
    assert config.has_nuisances
    assert not config.shape_systematics


def test_a_shape_and_a_normalisation_of_one_name_are_one_parameter(tmp_path):
    text = (
        JES + "down = 0.97\n[[systematics]]\nname = 'jes'\nkind = 'normalisation'\n"
        "factors = { signal = [0.9, 1.1] }\n"
    )
    config = read(tmp_path, text + LEAST + "luminosity = 1.0\n")
    up, down = config.systematics[0].event_variations()
    assert (up.nuisances, up.factor, down.factor) == ({"jes": 1.0}, 1.03, 0.97)
    assert config.systematics[1].uncertainty().factors == {"signal": (0.9, 1.1)}
    assert config.shape_systematics == (config.systematics[0],)
