"""Graphs for RooFit: one event at any θ, as onnxruntime evaluates them, and as SOFIE's C++ does."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest

from milinfer.datasets import quadratic
from milinfer.exceptions import ConfigurationError, ModelError
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.networks.trained_network import TrainedNetwork
from milinfer.learning.onnx_roofit import ACTIVATIONS, PARAMETERS
from random_networks import random_networks

STEPS = (-1.0, 0.0, 1.0)
PLANE = quadratic.samples(300, [{"c1": a, "c2": b} for a in STEPS for b in STEPS], seed=1)
LINE = quadratic.samples(300, [{"c1": a} for a in (-1.0, -0.5, 0.0, 0.5, 1.0)], seed=1)
NETWORK = NetworkConfig((8,), "elu", batch_norm=True)
CASES = {
    "two parameters": (PLANE, {"order": 1, "ensemble": 2, "squares": 2}),
    "order 2, away from zero": (LINE, {"order": 2, "reference": 0.5}),
}
# SOFIE leaves products of matrices to a BLAS; this one is enough for a few events.
BLAS = """
static bool is_plain(const char *t) { return *t == 'n' || *t == 'N'; }
extern "C" void sgemm_(const char *ta, const char *tb, const int *m, const int *n, const int *k,
                       const float *alpha, const float *a, const int *lda, const float *b,
                       const int *ldb, const float *beta, float *c, const int *ldc) {
  for (int i = 0; i < *m; ++i)
    for (int j = 0; j < *n; ++j) {
      double sum = 0;
      for (int l = 0; l < *k; ++l)
        sum += double(is_plain(ta) ? a[i + l * *lda] : a[l + i * *lda]) *
               (is_plain(tb) ? b[l + j * *ldb] : b[j + l * *ldb]);
      float &out = c[i + j * *ldc];
      out = *alpha * sum + (*beta == 0 ? 0 : *beta * out);
    }
}
extern "C" void sgemv_(const char *t, const int *m, const int *n, const float *alpha,
                       const float *a, const int *lda, const float *x, const int *incx,
                       const float *beta, float *y, const int *incy) {
  for (int i = 0; i < (is_plain(t) ? *m : *n); ++i) {
    double sum = 0;
    for (int l = 0; l < (is_plain(t) ? *n : *m); ++l)
      sum += double(is_plain(t) ? a[i + l * *lda] : a[l + i * *lda]) * x[l * *incx];
    float &out = y[i * *incy];
    out = *alpha * sum + (*beta == 0 ? 0 : *beta * out);
  }
}
"""
MAIN = """
#include "model.hxx"
int main() {
  SOFIE_model::Session session("model.dat");
  float x[N_FEATURES], theta[N_PARAMETERS];
  std::cout.precision(9);
  while (true) {
    for (float &value : x) std::cin >> value;
    for (float &value : theta) std::cin >> value;
    if (!std::cin) return 0;
    std::cout << session.infer(x, theta)[0] << "\\n";
  }
}
"""


@pytest.fixture(scope="module", params=CASES)
def model(request):
    samples, options = CASES[request.param]
    training = TrainingConfig(3, 500, 1e-2, schedule="cosine")
    settings = BagLikelihood(head="polynomial", seed=1, network=NETWORK, training=training)
    with random_networks():
        return dataclasses.replace(settings, **options).fit(samples)


def events_and_points(model):
    """Some events, each at a point of its own within the range of the training."""
    rng = np.random.default_rng(3)
    data = quadratic.generate(30, dict.fromkeys(model.parameters, 0.2), seed=3)
    theta = rng.uniform(-1, 1, (30, len(model.parameters))).astype(np.float32)
    theta[0] = model.reference
    exact = [model.cost(data.take(slice(i, i + 1)))(*theta[i]) / -2 for i in range(30)]
    assert np.std(exact) > 0.05
    return data.features, theta, np.array(exact)


def test_the_graph_gives_the_log_ratio_at_any_point(model, tmp_path):
    path = tmp_path / "model.onnx"
    model.export_onnx(path, target="roofit")
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    features, theta, exact = events_and_points(model)
    found = [
        session.run(None, {"features": f[None], PARAMETERS: t[None]})[0]
        for f, t in zip(features, theta, strict=True)
    ]
    assert {(x.shape, x.dtype) for x in found} == {((1, 1), np.dtype(np.float32))}
    np.testing.assert_allclose(np.ravel(found), exact, atol=1e-5)
    assert np.ravel(found)[0] == pytest.approx(0.0, abs=1e-6)
    metadata = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    assert metadata["parameters"] == list(model.parameters)
    assert metadata["feature_names"] == list(model.feature_names)
    assert metadata["limits"]["c1"] == [-1.0, 1.0]


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler for C++")
def test_sofie_translates_it_to_the_same_numbers(model, tmp_path):
    sofie = pytest.importorskip("sofie")
    model.export_onnx(tmp_path / "model.onnx", target="roofit")
    generated = sofie.onnx.parse(str(tmp_path / "model.onnx"))
    generated.generate()
    generated.output_generated(str(tmp_path / "model.hxx"))
    features, theta, exact = events_and_points(model)
    sizes = [f"-DN_FEATURES={features.shape[1]}", f"-DN_PARAMETERS={theta.shape[1]}"]
    (tmp_path / "main.cxx").write_text(MAIN)
    (tmp_path / "blas.cxx").write_text(BLAS)
    command = ["g++", "-std=c++17", "-O0", "-w", *sizes, "main.cxx", "blas.cxx", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    rows = np.column_stack([features, theta])
    text = "\n".join(" ".join(f"{x:.9g}" for x in row) for row in rows)
    run = subprocess.run(
        ["./main"], cwd=tmp_path, input=text, capture_output=True, text=True, check=True
    )
    np.testing.assert_allclose(np.array(run.stdout.split(), float), exact, atol=1e-5)


@pytest.fixture(scope="module")
def small():
    training = TrainingConfig(1, 500, schedule="cosine")
    network = NetworkConfig((4,), "elu", batch_norm=False, dropout=0.0, l2=0.0)
    settings = BagLikelihood(
        head="polynomial", order=2, seed=1, network=network, training=training, ensemble=2
    )
    with random_networks():
        return settings.fit(LINE)


def with_activation(model, activation):
    fitted = model.fitted
    config = dataclasses.replace(fitted.network, activation=activation)
    members = tuple(
        (TrainedNetwork(dataclasses.replace(n.event_network, config=config), n.build),)
        for (n,) in fitted.members
    )
    return dataclasses.replace(
        model, _fitted=dataclasses.replace(fitted, members=members, network=config)
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_sofie_has_every_operator(activation, small, tmp_path):
    sofie = pytest.importorskip("sofie")
    path = tmp_path / "model.onnx"
    with_activation(small, activation).export_onnx(path, target="roofit")
    assert sofie.onnx.check_model(str(path))
    sofie.onnx.parse(str(path)).generate()


def test_what_roofit_cannot_take_is_named(small, tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(ModelError, match=r"'softplus' cannot be exported for RooFit; .* elu, relu"):
        with_activation(small, "softplus").export_onnx(path, target="roofit")
    for head, reason in (("multiclass", "at the training points alone"), ("polynomial", "SOFIE")):
        other = dataclasses.replace(small, head=head, average="ratio")
        with pytest.raises(ModelError, match=reason):
            other.export_onnx(path, target="roofit")
    with pytest.raises(ConfigurationError, match="target='combine' must be"):
        small.export_onnx(path, target="combine")
    assert not list(tmp_path.iterdir())
