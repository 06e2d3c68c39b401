"""Work on a dask cluster: the same result as here, to the bit, also when workers die."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import milinfer as mil
from clusters import cluster_of_threads
from milinfer.binned.binned_model import BinnedLLR
from milinfer.cli import cli
from milinfer.datasets import gaussian, quadratic
from milinfer.diagnostics.bag_size_scan import scan_bag_sizes
from milinfer.exceptions import ConfigurationError, MilinferWarning, SampleError
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.likelihood.models import Renamed
from milinfer.likelihood.oracle import Oracle
from milinfer.likelihood.profiled_mixture import ProfiledMixture
from milinfer.likelihood.surface import Interpolation
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.draws import STREAM
from milinfer.toys.pool import Background, EventPool
from milinfer.toys.toys import Toys, _parts
from milinfer.utils.parallel import (
    Workers,
    _batch_size,
    _result,
    _wait_for_workers,
    in_order,
    read_ahead,
)
from milinfer.utils.scheduler import connected
from models import GaussianMean, gaussian_samples
from pieces import Unsendable, complain, die, plus, ratio, slow, sums, time_out, trains, warn
from varied_gaussian import variations

dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")

SMALL = NetworkConfig((8,), dropout=0.1, l2=0.0)
QUICK = TrainingConfig(3, 500, 1e-2, 1e-3)
TRAIN = gaussian_samples([-0.5, 0.0, 0.5], 1500, 3)


def cluster_of(n):
    # The profile that each worker makes of itself takes a tenth of its time.
    with dask.config.set({"distributed.worker.profile.enabled": False}):
        return distributed.LocalCluster(
            n_workers=n, threads_per_worker=1, processes=True, dashboard_address=":0"
        )


@pytest.fixture(scope="module")
def two_workers():
    with cluster_of(2) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture
def client(two_workers):
    """A cluster of two workers, of which others have taken the place of those that were killed.

    A worker that takes longer is not started again: the error says how many there are.
    """
    two_workers.wait_for_workers(2, timeout=120)
    return two_workers


@pytest.fixture(scope="module")
def one_worker():
    """A worker that is started again; no task may kill it more than twice."""
    with (
        # Two starts of a worker fewer than with the usual 3.
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        cluster_of(1) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def near():
    """A cluster in this process, which has imported TensorFlow and has the graphs of networks.

    All that is sent goes through the network as to other processes.  In those, a network is trained
    and toys are thrown below.
    """
    with cluster_of_threads() as cluster, distributed.Client(cluster) as client:
        yield client


def network(**options):
    return mil.BagLikelihood(
        **{"head": "multiclass"}
        | {"bag_size": 10, "network": SMALL, "training": QUICK, "seed": 5, **options}
    )


@pytest.fixture(scope="module")
def bag_model():
    return network(pooling="attention").fit(TRAIN)


def pids(client):
    return client.run(os.getpid)


def kill_all(client):
    for pid in pids(client).values():
        os.kill(pid, signal.SIGKILL)


@given(st.integers(1, 10_000), st.integers(1, 500), st.floats(0, 1e6) | st.just(np.inf))
def test_batches_are_never_empty_and_leave_work_for_all(left, threads, seconds):
    size = _batch_size(left, threads, seconds)
    assert 1 <= size <= left
    assert size == 1 or size * threads < left + threads
    assert size == 1 or size * seconds <= 0.2 * (1 + 1e-9)


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_parts_of_streams_are_the_toys(start, n_toys):
    toys = [p.stream * STREAM + k for p in _parts(range(start, start + n_toys))
            for k in range(p.first, p.last)]  # fmt: skip
    assert toys == list(range(start, start + n_toys))


@pytest.mark.parametrize("threads", [1, 3])
def test_here_and_in_threads(threads):
    assert list(Workers(threads).map(plus, range(50), 2)) == list(range(2, 52))
    with pytest.raises(SampleError, match="event 7"):
        list(Workers(threads).map(complain, range(10), 0))


def test_results_come_in_order_whatever_the_batches(client):
    workers = Workers(client=client)
    assert list(workers.map(plus, range(3000), 2)) == list(range(2, 3002))
    assert list(workers.map(plus, [], 2)) == []
    first = next(workers.map(plus, range(3000), 5))  # the others are dropped
    assert first == 5


def test_what_is_shared_is_sent_once(client, monkeypatch):
    sent = []
    scatter = distributed.Client.scatter
    monkeypatch.setattr(
        distributed.Client,
        "scatter",
        lambda self, data, **options: sent.append(data) or scatter(self, data, **options),
    )
    large = np.ones(2_000_000)  # 16 MB in a graph would be a warning, which is an error
    workers = Workers(client=client)
    for offset in (1, 2):
        results = workers.map(sums, range(5), large, offset)
        assert list(results) == [k + 1 + offset for k in range(5)]
    assert [part[0] is large for part in sent] == [True, False, False]


def test_errors_and_warnings_of_workers_come_home(client):
    with pytest.raises(SampleError, match=r"^event 7 is bad; mend it$"):
        list(Workers(client=client).map(complain, range(20), 0))
    with pytest.warns(MilinferWarning, match="item [01] deserves") as found:
        assert list(Workers(client=client).map(warn, [0, 1], 0)) == [0, 1]
    assert len(found) == 2


def test_no_client():
    toys = Toys(TRAIN, 10, seed=1)
    with pytest.raises(ConfigurationError, match="is a str, not a distributed"):
        toys.run([GaussianMean()], 0.0, 10, client="tcp://localhost:1")
    with pytest.raises(ConfigurationError, match="workers must be at least 1, but it is 0"):
        Workers(0)


def test_one_of_workers_and_client(client):
    with pytest.raises(ConfigurationError, match="one of the two"):
        Toys(TRAIN, 10, seed=1).run([GaussianMean()], 0.0, 10, workers=2, client=client)


def test_without_dask(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigurationError, match=r"pip install milinfer\[dask\]"):
        Workers(client=client)
    with (
        pytest.raises(ConfigurationError, match=r"pip install milinfer\[dask\]"),
        connected("tcp://localhost:1"),
    ):
        pass


@pytest.mark.early
@pytest.mark.filterwarnings("ignore:the toys of .* from a pool:UserWarning")
def test_commands_work_on_a_cluster(near, tmp_path, monkeypatch):
    for name, samples in (("", TRAIN), ("other", gaussian_samples([-0.5, 0.0, 0.5], 2000, 8))):
        for k, sample in enumerate(samples):
            sample.to_file(tmp_path / f"{name}{k}.parquet")
    files = [str(tmp_path / f"{k}.parquet") for k in range(3)]
    other = [str(tmp_path / f"other{k}.parquet") for k in range(3)]
    found = {}
    for where, scheduler in (("here", []), ("there", ["--scheduler", near.scheduler.address])):
        model, result = tmp_path / where, tmp_path / f"{where}.json"
        train = ["--ensemble", 2, "--epochs", 10, "--batch-events", 500, "--out", model]
        toys = ["--events-per-toy", 1000, "--toys", 150, "--truths", 0, "--model", model]
        # The network of the other tests, whose graph every process has.
        with monkeypatch.context() as patch:
            likelihood = partial(mil.BagLikelihood, network=SMALL)
            patch.setattr("milinfer.learning.bag_likelihood.BagLikelihood", likelihood)
            patch.setattr(mil.BagLikelihood, "default_training", QUICK)
            call("train", *files, *train, *scheduler)
        call("calibrate", *other, *toys, "--out", result, *scheduler)
        found[where] = json.loads(result.read_text())
    assert found["there"] == found["here"]
    with dask.config.set({"distributed.comm.timeouts.connect": "0.5s"}):
        failed = call("calibrate", *other, *toys, "--out", result, "--scheduler", "no:1", code=2)
    assert "no dask scheduler answers at no:1" in failed


def call(*arguments, code=0):
    run = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
    assert run.exit_code == code, run.output
    return run.output


def test_what_cannot_be_sent(near):
    model = ProfiledMixture(GaussianMean(), 20.0, {"bkg": (Unsendable(), 5.0)}, reference=0.0)
    background = Background(gaussian_samples([1.0], 100, 4)[0], 5)
    toys = Toys(TRAIN, 20, seed=1, poisson=True, background=[background])
    with pytest.raises(ConfigurationError, match="cannot be sent to workers"):
        toys.run([model], 0.0, 10, client=near)


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        for one, other in zip(a[name], b[name], strict=True):
            assert one.values.tobytes() == other.values.tobytes()
            assert one.counts.tobytes() == other.counts.tobytes()
            assert (one.model, one.point, one.pool_id) == (other.model, other.point, other.pool_id)


def everywhere(toys, models, truths, n_toys, client, **options):
    """The same toys in this process, in threads and on the cluster."""
    here = toys.scan(models, truths, n_toys, **options)
    same(here, toys.scan(models, truths, n_toys, workers=2, **options))
    same(here, toys.scan(models, truths, n_toys, client=client, **options))
    return here


def test_toys_are_the_same_everywhere(client):
    samples = quadratic.samples(60_000, [{"c1": -0.5}, {"c1": 0.5}], seed=1)
    oracle = Oracle.from_sample(samples[0], "c1", np.linspace(-1, 1, 21), degree=2)
    toys = Toys(EventPool(samples, degree=2), 200, seed=2, poisson=True)  # a table of 20 MB
    done = []
    models = [oracle, Renamed(oracle, "again")]
    found = everywhere(toys, models, [0.0, 0.3], 650, client, start=130, on_toys=done.append)
    assert sum(done) == 3 * 2 * 650
    assert found["oracle"][0].n_toys == 650


def test_toys_of_counts_and_without_replacement(near):
    samples = gaussian.samples(20_000, [-0.5, -0.25, 0.0, 0.25, 0.5], seed=1)
    templates = mil.Templates.from_samples(samples, "x0", bins=8, degree=2)
    grid = Interpolation(np.linspace(-0.5, 0.5, 11), "spline")
    counts = BinnedLLR("pyhf", templates, "mu", grid)
    assert not counts.additive
    everywhere(Toys(samples, 50, seed=2, disjoint=True), [counts], [0.0, 0.25], 300, near)


def test_toys_with_profiled_backgrounds(near):
    model = ProfiledMixture(
        gaussian.MeanModel(), 80.0, {"bkg": (ratio, 20.0)}, {"bkg": 0.1}, reference=0.0
    )
    background = Background(gaussian.generate(5000, 2.0, seed=3), 20)
    toys = Toys(gaussian.samples(5000, [0.0], seed=1), 80, 2, poisson=True, background=[background])
    everywhere(toys, [model], [0.0], 250, near)


def test_toys_of_bags(near, bag_model):
    toys = Toys(gaussian_samples([0.0, 0.5], 3000, 4), 95, seed=2)
    everywhere(toys, [bag_model, GaussianMean(parameter="mu")], [0.0, 0.5], 250, near)


def test_a_model_is_pickled_as_it_is_saved(bag_model):
    copy = pickle.loads(pickle.dumps(bag_model))
    assert copy.digest == bag_model.digest
    data = TRAIN[1].take(slice(0, 95)).as_data()
    assert copy.surface(data).values.tobytes() == bag_model.surface(data).values.tobytes()
    assert repr(pickle.loads(pickle.dumps(network()))) == repr(network())
    assert copy.fitted.history == bag_model.fitted.history


@pytest.mark.parametrize(
    "options",
    [
        {"ensemble": 3},
        {"ensemble": 2, "head": "polynomial", "order": 1, "bag_size": 1},
    ],
    ids=["multiclass", "polynomial"],
)
def test_members_are_the_same_everywhere(near, options):
    settings = network(**options)
    reports, others = [], []
    here = settings.fit(TRAIN, on_epoch=reports.append)
    there = settings.fit(TRAIN, on_epoch=others.append, client=near)
    assert there.digest == here.digest
    assert there.ensemble == here.ensemble == options["ensemble"]
    assert there.fitted.history == here.fitted.history
    assert there.fitted.effective_events == here.fitted.effective_events
    assert others == reports
    data = TRAIN[1].take(slice(0, 100)).as_data()
    assert there.surface(data).values.tobytes() == here.surface(data).values.tobytes()


def test_members_of_streamed_samples_are_the_same_everywhere(near, tmp_path):
    files = {}
    for k, sample in enumerate(TRAIN):
        files[sample.point["mu"]] = tmp_path / f"{k}.parquet"
        sample.to_file(files[sample.point["mu"]])
    samples = mil.StreamedSamples.from_files(files, "mu", events_in_memory=20_000)
    settings = network(ensemble=2)
    here, there = settings.fit(samples), settings.fit(samples, client=near)
    assert there.digest == here.digest
    assert there.fitted.history == here.fitted.history
    assert there.trained_on == here.trained_on


def test_responses_are_the_same_everywhere(near):
    settings = mil.SystematicResponse(
        network=SMALL, training=QUICK, joint=False, ensemble=2, seed=5
    )
    process = variations(1500, 3)
    reports, others = [], []
    here = settings.fit(process, on_epoch=reports.append)
    there = settings.fit(process, on_epoch=others.append, client=near)
    assert there.digest == here.digest
    assert there.fitted.history == here.fitted.history
    assert others == reports
    columns = [r.event_columns(process.nominal[0]).tobytes() for r in (here, there)]
    assert columns[0] == columns[1]


@pytest.mark.filterwarnings("ignore::milinfer.exceptions.MilinferWarning")
def test_responses_of_streamed_variations_are_the_same_everywhere(near, tmp_path):
    folders = [tmp_path / str(k) for k in range(2)]
    for k, folder in enumerate(folders):
        variations(1000, k).save(folder)
    streamed = mil.StreamedVariations.from_folders(folders, events_in_memory=20_000)
    settings = mil.SystematicResponse(network=SMALL, training=QUICK, ensemble=2, seed=5)
    here, there = settings.fit(streamed), settings.fit(streamed, client=near)
    assert there.digest == here.digest
    assert there.fitted.history == here.fitted.history
    assert there.trained_on == here.trained_on


def test_errors_of_training_come_home(near):
    samples = SampleSet((TRAIN[1], replace(TRAIN[2], weights=-TRAIN[2].weights)))
    with pytest.raises(mil.exceptions.MilinferError) as here:
        network(ensemble=2).fit(samples)
    with pytest.raises(type(here.value)) as there:
        network(ensemble=2).fit(samples, client=near)
    assert str(there.value) == str(here.value)


@pytest.mark.early
def test_bag_sizes_are_scanned_alike(near):
    pool = gaussian_samples([-0.25, 0.0, 0.25], 4000, 6)
    options = {
        "sizes": [5, 10],
        "truth": 0.0,
        "neighbours": [-0.25, 0.25],
        "n_toys": 100,
        "n_bootstrap": 20,
    }
    here, there = (
        scan_bag_sizes(network(), TRAIN, Toys(pool, 100, seed=7), client=c, **options)
        for c in (None, near)
    )
    assert there.to_dict() == here.to_dict()


def kill_when_training(client):
    """Kill the first worker that trains a network."""

    def watch():
        end = time.monotonic() + 120
        while not killed and time.monotonic() < end:
            time.sleep(0.05)
            for pid, is_training in client.run(trains).values():
                if is_training and not killed:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    killed: list[int] = []
    thread = threading.Thread(target=watch)
    thread.start()
    return thread, killed


def train_elsewhere(client):
    """Train a network here and on a cluster, and compare the two."""
    settings = network()
    reports, others = [], []
    there = settings.fit(TRAIN, on_epoch=others.append, client=client)
    here = settings.fit(TRAIN, on_epoch=reports.append)
    assert there.digest == here.digest
    assert there.fitted.history == here.fitted.history
    assert others == reports


@pytest.mark.early
def test_a_network_of_another_process_is_the_same(one_worker):
    """In a process that has not trained before; in one, as every worker imports TensorFlow."""
    train_elsewhere(one_worker)


@pytest.mark.slow
def test_a_worker_killed_while_it_trains(client):
    """The test above without a kill, and the one below with other work, are quicker."""
    thread, killed = kill_when_training(client)
    train_elsewhere(client)
    thread.join()
    assert killed


def test_killed_workers_cost_nothing_but_time(one_worker):
    """All of them; a slow test kills one of two while it trains."""
    samples = gaussian_samples([0.0], 50_000, 3)
    toys = Toys(samples, 2000, seed=2)
    killed = []

    def once(_):
        if not killed:
            killed.append(pids(one_worker))
            kill_all(one_worker)

    there = toys.scan([GaussianMean()], [0.0], 3000, client=one_worker, on_toys=once)
    assert set(killed[0].values()) - set(pids(one_worker).values())
    same(there, toys.scan([GaussianMean()], [0.0], 3000))


def test_tasks_that_kill_their_workers_are_errors(one_worker, monkeypatch):
    """The same batch, and what it shares with others: each of them dies with the worker."""
    monkeypatch.setattr("milinfer.utils.parallel._ATTEMPTS", 2)
    with pytest.raises(ConfigurationError, match=r"2 workers in a row died .*task \(die\)"):
        list(Workers(client=one_worker).map(die, [1]))
    one_worker.wait_for_workers(1)
    with pytest.raises(ConfigurationError, match="workers of the cluster were lost 2 times"):
        list(Workers(client=one_worker).map(die, [1], 0))


def test_a_scheduler_that_is_gone_is_an_error():
    with (
        cluster_of_threads() as cluster,
        distributed.Client(cluster, timeout=2) as client,
    ):
        found = Workers(client=client).map(slow, range(100), 1)
        assert next(found) == 1
        cluster.close()
        with pytest.raises(ConfigurationError, match="scheduler is lost"):
            list(found)


def collect(seen: list, results) -> None:
    """Unlike list(), it keeps what came before an error."""
    for result in results:
        seen.append(result)  # noqa: PERF402


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_order(workers):
    def slow_first(x: int) -> int:
        time.sleep(0.02 if x == 0 else 0)
        return -x

    assert list(in_order(slow_first, range(30), workers)) == [-x for x in range(30)]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_first_error_in_order(workers):
    def fail(x: int) -> int:
        if x in (3, 4):
            time.sleep(0.02 if x == 3 else 0)
            raise ValueError(x)
        return x

    seen = []
    with pytest.raises(ValueError, match="3"):
        collect(seen, in_order(fail, range(10), workers))
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_the_source_comes_after_the_results(workers):
    def source():
        yield from range(4)
        raise OSError("gone")

    seen = []
    with pytest.raises(OSError, match="gone"):
        collect(seen, in_order(str, source(), workers))
    assert seen == ["0", "1", "2", "3"]


def test_few_in_flight():
    """And none is left; other tests of the same process may have threads of their own."""
    taken, before = [], threading.active_count()

    def source():
        for i in range(100):
            taken.append(i)
            yield i

    results = in_order(lambda x: x, source(), workers=2)
    next(results)
    assert len(taken) <= 6
    results.close()
    assert threading.active_count() <= before


def test_no_workers():
    with pytest.raises(ConfigurationError, match="workers"):
        list(in_order(str, [1], 0))


def test_reading_ahead_keeps_order_and_passes_errors_on():
    def numbers():
        yield 1
        yield 2
        msg = "no third"
        raise ValueError(msg)

    items = read_ahead(numbers())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="no third"):
        next(items)


def test_waiting_for_workers_is_said():
    """Regression: work on a cluster that had lost all of its workers waited without a word."""

    class Late:
        """A cluster whose first worker comes when it is asked for the third time."""

        asked = 0

        def wait_for_workers(self, n_workers, timeout):
            assert (n_workers, timeout) == (1, 60.0)
            self.asked += 1
            if self.asked < 3:
                raise TimeoutError

    class Result:
        """Of a task that no worker has until the third time that it is asked for."""

        asked = 0

        def result(self, timeout):
            assert timeout == 60.0
            self.asked += 1
            if self.asked < 3:
                raise TimeoutError
            return "done"

        def done(self):
            return self.asked >= 3

    late = Late()
    with pytest.warns(MilinferWarning, match="no workers for 60 s") as caught:
        _wait_for_workers(late)
    assert (late.asked, len(caught)) == (3, 2)
    late = Late()
    with pytest.warns(MilinferWarning, match="no workers for 60 s") as caught:
        assert _result(late, Result()) == "done"
    assert (late.asked, len(caught)) == (4, 2)


def test_a_task_that_times_out_is_an_error(client):
    """It is not taken for a result that has not come yet."""
    with pytest.raises(TimeoutError, match="no answer"):
        list(Workers(client=client).map(time_out, [1], 0))
