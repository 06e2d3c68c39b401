"""What the study of bags and events trains: rows of settings, events, and one training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import milinfer as mil
from milinfer.datasets import gaussian, quadratic
from milinfer.datasets.contamination import contaminate, mixture_llr
from milinfer.diagnostics.separation import largest_distance, relative_distance
from milinfer.typing import FloatArray


class Setting(NamedTuple):
    """A row: what differs from the base of its problem."""

    problem: str = "quadratic"
    distance: float = 0.3  # between the hypotheses, in the parameter
    contamination: float = 0.0  # background events for each signal event
    n_events: int = 20_000  # of each hypothesis
    bag_size: int = 50  # signal events in the mean
    pooling: str = "sum"
    head: str = "binary"
    divisor: float = 1.0  # of the logit of the event's network
    loss: str | None = None
    l2: float = 0.0
    l2_of_bags: float = 1.0  # times that, for bags
    dropout: float = 0.0
    batch_norm: bool = False
    stop: str = "training"  # the events whose loss chooses the epoch
    epochs: int = 20
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    hidden: tuple[int, ...] = (64, 64, 64)


class Row(NamedTuple):
    group: str
    title: str
    setting: Setting


PAPER = {
    "pooling": "mean",
    "l2": 1e-3,
    "dropout": 0.1,
    "batch_norm": True,
    "schedule": "plateau",
    "stop": "held out",
    "epochs": 40,
}
SIGNAL, REGULAR, HEAD, SIZE = "signal to noise", "regularisation", "head and loss", "training"


def variations(base: Setting) -> list[tuple[str, str, dict[str, Any]]]:
    """Group, title and changes of all rows but the base."""
    n = base.bag_size
    return [
        (SIGNAL, "hypotheses 3 times closer", {"distance": base.distance / 3}),
        (SIGNAL, "hypotheses 2 times farther", {"distance": base.distance * 2}),
        (SIGNAL, "bags of 10", {"bag_size": 10}),
        (SIGNAL, "bags of 250", {"bag_size": 250}),
        (SIGNAL, "100 % contamination", {"contamination": 1.0}),
        (SIGNAL, "300 % contamination", {"contamination": 3.0}),
        (REGULAR, "L2 1e-4", {"l2": 1e-4}),
        (REGULAR, "L2 1e-3", {"l2": 1e-3}),
        (REGULAR, f"L2 1e-3, of bags × {n}", {"l2": 1e-3, "l2_of_bags": n}),
        (REGULAR, "L2 1e-2", {"l2": 1e-2}),
        (REGULAR, "dropout 0.1", {"dropout": 0.1}),
        (REGULAR, "dropout 0.3", {"dropout": 0.3}),
        (REGULAR, "batch normalisation", {"batch_norm": True}),
        (REGULAR, "batch normalisation, L2 1e-3", {"batch_norm": True, "l2": 1e-3}),
        (REGULAR, "stopped by held-out events", {"stop": "held out"}),
        (REGULAR, "stopped by 10 times as many events", {"stop": "large"}),
        (HEAD, "mean pooling", {"pooling": "mean"}),
        (HEAD, f"mean pooling; event logit / {n}", {"pooling": "mean", "divisor": n}),
        (HEAD, "mean pooling, learning rate × 3", {"pooling": "mean", "learning_rate": 3e-3}),
        (HEAD, "mean pooling, learning rate × 10", {"pooling": "mean", "learning_rate": 1e-2}),
        (HEAD, "mean pooling, L2 1e-3", {"pooling": "mean", "l2": 1e-3}),
        (HEAD, "polynomial head", {"head": "polynomial"}),
        (HEAD, "MLC loss", {"loss": "mlc-exponential"}),
        (SIZE, "learning rate / 3", {"learning_rate": 3e-4}),
        (SIZE, "learning rate × 3", {"learning_rate": 3e-3}),
        (SIZE, "5 epochs", {"epochs": 5}),
        (SIZE, "60 epochs", {"epochs": 60}),
        (SIZE, "4 times fewer events", {"n_events": base.n_events // 4}),
        (SIZE, "4 times more events", {"n_events": base.n_events * 4}),
        ("all", "as in [AS]", PAPER),
    ]


def rows(size: str) -> list[Row]:
    if size == "quick":
        base = Setting(n_events=4_000, distance=0.5, epochs=6, hidden=(32,))
        wanted = {f"mean pooling; event logit / {base.bag_size}", "L2 1e-3"}
        chosen = [v for v in variations(base) if v[1] in wanted]
        return [Row("base", "base", base), *_made(base, chosen)]
    base = Setting()
    out = [Row("base", "base", base), *_made(base, variations(base))]
    few = {"L2 1e-3", "mean pooling", f"mean pooling; event logit / {base.bag_size}", "as in [AS]"}
    for problem, distance in (("gaussian", 0.2), ("vbf_hww", 0.5)):
        other = base._replace(problem=problem, distance=distance)
        chosen = [v for v in variations(other) if v[1] in few]
        out += [Row("base", "base", other), *_made(other, chosen)]
    return out


def _made(base: Setting, chosen: Iterable[tuple[str, str, dict[str, Any]]]) -> list[Row]:
    return [Row(group, title, base._replace(**changes)) for group, title, changes in chosen]


class Problem(NamedTuple):
    """Samples to train on, and test events of both hypotheses with their exact log-ratio."""

    train: mil.SampleSet
    test: mil.Sample
    llr: FloatArray
    reference: float


def hypotheses(s: Setting) -> tuple[float, float]:
    half = s.distance / 2
    return (-half, half) if s.problem == "gaussian" else (0.0, s.distance)


def signal(s: Setting, n: int, seed: int) -> mil.SampleSet:
    points = hypotheses(s)
    if s.problem == "gaussian":
        return gaussian.samples(n, points, seed=seed)
    return quadratic.samples(n, [{"c1": c} for c in points], seed=seed)


def background(n: int, seed: int) -> tuple[mil.Sample, FloatArray]:
    """Events of N(0, 1) in all features but the last, whose mean is 1."""
    x = np.random.default_rng(seed).normal(size=(n, quadratic.N_FEATURES))
    x[:, -1] += 1
    return mil.Sample(x, tuple(f"x{k}" for k in range(quadratic.N_FEATURES))), x[:, -1] - 0.5


def make_vbf(s: Setting, plan: Plan) -> None:
    """Write all events of vbf_hww, which replicates are cut from, to the folder of the plan."""
    from studies.common.vbf_events import generated, sample, truth

    seeds = np.random.SeedSequence([plan.seed, 7]).generate_state(4).tolist()
    values, folder = hypotheses(s), Path(plan.folder)
    for c, k in zip(values, seeds[:2], strict=True):
        made = generated(s.n_events * plan.replicates, c, k)
        sample(made, "vbf_2l2j").to_file(folder / f"train_{c:g}.parquet")
    tests = [generated(plan.n_test, c, k) for c, k in zip(values, seeds[2:], strict=True)]
    exact = [truth(e, 1.0) for e in tests]
    total = exact[0].coefficients.mean(axis=0)
    np.save(folder / "llr.npy", np.concatenate([e.llr(values[1], total) for e in exact]))
    for c, made in zip(values, tests, strict=True):
        sample(made, "vbf_2l2j").to_file(folder / f"test_{c:g}.parquet")


@lru_cache(maxsize=1)
def vbf(s: Setting, folder: str) -> tuple[list[mil.Sample], list[mil.Sample], FloatArray]:
    """Events to train on and to test with, and the exact log-ratio of the latter."""
    here, values = Path(folder), hypotheses(s)
    train, test = (
        [mil.Sample.from_file(here / f"{kind}_{c:g}.parquet") for c in values]
        for kind in ("train", "test")
    )
    return train, test, np.load(here / "llr.npy")


def problem(s: Setting, replicate: int, plan: Plan) -> Problem:
    """Events of a replicate to train on; all replicates share the test events."""
    c = hypotheses(s)[1]
    own = plan.seed * 1000 + replicate
    if s.problem == "vbf_hww":
        events = Setting(s.problem, s.distance, n_events=s.n_events)
        train, tests, llr = vbf(events, plan.folder)
        cut = slice(replicate * s.n_events, (replicate + 1) * s.n_events)
        data = mil.SampleSet(tuple(t.take(cut) for t in train))
        return Problem(data, _joined(tests), llr, 0.0)
    data = signal(s, s.n_events, own)
    tests = list(signal(s, plan.n_test, plan.seed + 500))
    x = [t.features.astype(np.float64) for t in tests]
    if s.problem == "gaussian":
        llr = s.distance * np.concatenate(x)[:, 0]
    else:
        llr = quadratic.log_likelihood_ratio(np.concatenate(x), [[c]])[:, 0]
    if s.contamination:
        n = round(2 * s.contamination * s.n_events)
        data = contaminate(data, background(n, own + 250)[0], s.contamination, seed=own)
        # As much signal as background, so that the test events are those of the even mixture.
        n_test = round(2 * s.contamination * plan.n_test)
        other, _ = background(n_test, plan.seed + 750)
        tests.append(other)
        everything = np.concatenate([t.features.astype(np.float64) for t in tests])
        exact = quadratic.log_likelihood_ratio(everything, [[c]])[:, 0]
        llr = mixture_llr(exact, everything[:, -1] - 0.5, s.contamination)
    return Problem(data, _joined(tests), llr, hypotheses(s)[0])


def _joined(samples: Sequence[mil.Sample]) -> mil.Sample:
    features = np.concatenate([s.features for s in samples])
    return mil.Sample(features, samples[0].feature_names)


class Plan(NamedTuple):
    """Sizes of the study."""

    replicates: int
    n_test: int
    seed: int
    folder: str = ""


class Trained(NamedTuple):
    """Part of the information that is kept; d² per event; scale of λ; epoch of the weights."""

    kept: float
    kept_error: float
    squared: float
    scale: float
    epoch: int


def train(s: Setting, replicate: int, plan: Plan, *, bags: bool) -> Trained:
    """Train one classifier, and see what its event scores keep."""
    from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig

    given = problem(s, replicate, plan)
    l2 = s.l2 * (s.l2_of_bags if bags else 1.0)
    network = NetworkConfig(s.hidden, "elu", s.batch_norm, s.dropout, l2)
    training = TrainingConfig(
        s.epochs, 2_000, s.learning_rate, min(1e-5, s.learning_rate), schedule=s.schedule
    )
    seed = plan.seed * 1000 + replicate
    by = watched(s, given.train, seed)
    if s.divisor != 1 and not bags:
        score, history = divided(given, by, network, training, s.divisor, seed)
    else:
        model = mil.BagLikelihood(
            head=s.head,
            normalise=False,
            order=1,
            bag_size=round(s.bag_size * (1 + s.contamination)) if bags else 1,
            pooling="mean" if s.head == "polynomial" else s.pooling,
            loss=s.loss,
            reference=given.reference,
            seed=seed,
            network=network,
            training=training,
        ).fit(given.train, by)
        score = model.event_llr(given.test)[:, -1]
        history = model.fitted.history[0]
    kept = relative_distance(score, given.llr)
    return Trained(
        kept.value,
        kept.error,
        largest_distance(given.llr).value,
        float(score.std() / given.llr.std()),
        int(np.argmin(history["val_loss"])) + 1,
    )


def watched(s: Setting, data: mil.SampleSet, seed: int) -> mil.SampleSet | None:
    """Events whose loss chooses the epoch; None: a fifth of those given, held out of training."""
    if s.stop == "held out":
        return None
    return data if s.stop == "training" else signal(s, 2 * s.n_events, seed + 900)


def divided(
    given: Problem,
    by: mil.SampleSet | None,
    network: Any,
    training: Any,
    divisor: float,
    seed: int,
) -> tuple[FloatArray, dict[str, list[float]]]:
    """Train on single events whose logit is that of the network over `divisor`.

    It is what mean pooling does to the logit of each event of a bag, without the bag.
    """
    from milinfer.learning.fitting import member_seeds
    from milinfer.learning.networks.heads import LinearHead
    from milinfer.learning.networks.network import build_network
    from milinfer.learning.networks.trained_network import keras_outputs
    from milinfer.learning.networks.training import train_network
    from milinfer.learning.networks.training_bags import ClassBags

    # Split and initial weights are those of the bags' network that it is compared with.
    seeds = member_seeds(mil.BagLikelihood(head="multiclass", seed=seed))[0]
    kept, rest = (
        given.train.split([0.8, 0.2], seed=seeds.split) if by is None else (given.train, by)
    )
    x = np.concatenate([s.features for s in given.train]).astype(np.float64)
    head = LinearHead(np.eye(1) / divisor)
    variance = np.where(x.var(axis=0) > 0, x.var(axis=0), 1.0)
    made = build_network(network, head, 1, x.mean(axis=0), variance, seeds.weights[0])
    history = train_network(
        made, ClassBags(kept, 1), ClassBags(rest, 1), training, seeds.bags[0], loss_name="bce"
    )
    outputs = keras_outputs(made.event_model, given.test.features)[:, 0]
    return outputs.astype(np.float64) / divisor, history


class Gradients(NamedTuple):
    """Gradients of the losses of bags and of events at λ ≈ 0, over the same batches of events.

    Bags have mean pooling.  `cosine`, `ratio`: angle between the two sums, and length of that of
    bags over that of events; `event`, `bag`: squared length of the mean gradient over the variance
    of that of a batch, the noise taken off.
    """

    cosine: float
    ratio: float
    event: float
    bag: float


def gradients(s: Setting, n_batches: int, batch: int, seed: int) -> Gradients:
    """Gradients in all weights of an untrained network whose logits are all but zero.

    The sum over bags of (p − y) φ̄ is that over events where p is one number: to this order the two
    losses cannot differ, neither in signal nor in noise.
    """
    from milinfer.learning.networks.backend import keras, tf
    from milinfer.learning.networks.configs import NetworkConfig
    from milinfer.learning.networks.heads import LinearHead
    from milinfer.learning.networks.losses import loss
    from milinfer.learning.networks.network import build_network

    config = NetworkConfig(s.hidden, "elu", batch_norm=False, dropout=0.0, l2=0.0)
    n = n_batches * batch // 2
    zero, one = (np.asarray(x.features) for x in signal(s, n, seed))
    n_inputs = zero.shape[1]
    flat = []
    for bag_size in (1, s.bag_size):
        weights = np.random.SeedSequence(seed)
        network = build_network(
            config, LinearHead(np.eye(1)), bag_size, np.zeros(n_inputs), np.ones(n_inputs), weights
        )
        model = network.bag_model
        last = model.get_layer("head").kernel
        last.assign(0.01 * last)
        labels = np.repeat(np.eye(2, dtype=np.float32), batch // 2 // bag_size, axis=0)

        @tf.function
        def gradient(x: Any, y: Any, model: Any = model) -> Any:
            with tf.GradientTape() as tape:
                value = keras.ops.mean(loss("bce")(model(x, training=True), y))
            found = tape.gradient(value, model.trainable_variables)
            return tf.concat([tf.reshape(g, [-1]) for g in found], 0)

        found = []
        for k in range(n_batches):
            rows = slice(k * batch // 2, (k + 1) * batch // 2)
            x = np.concatenate([zero[rows], one[rows]]).reshape(-1, bag_size, n_inputs)
            found.append(np.asarray(gradient(tf.constant(x), tf.constant(labels)), np.float64))
        flat.append(np.array(found))
    sums = [g.mean(axis=0) for g in flat]
    lengths = [float(np.linalg.norm(v)) for v in sums]
    signal_to_noise = []
    for g, mean in zip(flat, sums, strict=True):
        variance = float(g.var(axis=0, ddof=1).sum())
        signal_to_noise.append((float(mean @ mean) - variance / n_batches) / variance)
    return Gradients(
        float(sums[0] @ sums[1]) / (lengths[0] * lengths[1]),
        lengths[1] / lengths[0],
        signal_to_noise[0],
        signal_to_noise[1],
    )
