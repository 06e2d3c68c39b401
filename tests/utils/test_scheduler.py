"""Connections to dask schedulers: addresses, files, TLS, and schedulers that start again."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from clusters import cluster_of_threads
from milinfer.exceptions import ConfigurationError
from milinfer.utils.parallel import Workers
from milinfer.utils.scheduler import connected
from pieces import plus, slow
from scripts import load_script

dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")

# Connections that dask could not close before its scheduler was gone.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

# The benchmark of several hosts makes certificates as well.
HOSTS = load_script(Path(__file__).parents[2] / "benchmarks" / "hosts.py")
SETTINGS = ("ca-file", "client.cert", "client.key")


@pytest.fixture(scope="module")
def nothing_old():
    """What other tests have left is looked through once: it took a second, twice for each test."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def collected_clients(nothing_old):
    """Clients that are not used any more close here, and not while a cluster starts."""
    gc.collect()
    yield
    gc.collect()


@pytest.fixture
def impatient():
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        yield


def test_a_scheduler_that_starts_again_costs_nothing_but_time():
    """What has come is kept; the rest is sent to the new scheduler, which knows of nothing."""
    with (
        cluster_of_threads() as cluster,
        distributed.Client(cluster.scheduler_address, timeout=20) as client,
    ):
        found = Workers(client=client).map(slow, range(40), 1)
        first = [next(found) for _ in range(10)]
        port = int(cluster.scheduler_address.rpartition(":")[2])
        cluster.close()
        with cluster_of_threads(scheduler_port=port, loop=client.loop):
            assert [*first, *found] == list(range(1, 41))


def test_a_scheduler_that_does_not_come_back_is_an_error():
    with (
        cluster_of_threads() as cluster,
        distributed.Client(cluster.scheduler_address, timeout=1) as client,
    ):
        found = Workers(client=client).map(slow, range(40), 1)
        assert next(found) == 1
        cluster.close()
        with pytest.raises(ConfigurationError, match=r"lost; .*comm\.timeouts\.connect"):
            list(found)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    return HOSTS.certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def configured(files):
    names = {f"distributed.comm.tls.{s}": f for s, f in zip(SETTINGS, files, strict=True)}
    with dask.config.set(names):
        yield


@contextmanager
def processes(folder, certificates):
    """A scheduler and a worker, as commands start them; gives the file of the scheduler."""
    file = folder / "scheduler.json"
    tls = [f"--tls-{k}={f}" for k, f in zip(("ca-file", "cert", "key"), certificates, strict=True)]
    common = ["--scheduler-file", file, "--no-dashboard", *tls]
    commands = [
        ["scheduler", "--host", "tls://127.0.0.1", "--port", "0", *common],
        ["worker", "--nthreads", "1", "--no-nanny", *common],
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with (folder / "log").open("w") as log:
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "dask", *map(str, command)],
                stdout=log, stderr=log, env=environment,
            )
            for command in commands
        ]  # fmt: skip
        try:
            end = time.monotonic() + 60
            while not file.exists() or not file.read_text().strip():
                assert time.monotonic() < end, (folder / "log").read_text()
                time.sleep(0.1)
            yield str(file)
        finally:
            for process in running:
                process.kill()
                process.wait()


def test_tls(certificates, tmp_path):
    """A scheduler and a worker in other processes, as commands of dask start them."""
    with processes(tmp_path, certificates) as file:
        address = json.loads((tmp_path / "scheduler.json").read_text())["address"]
        assert address.startswith("tls://")
        with configured(certificates), connected(file) as client:
            client.wait_for_workers(1, timeout=60)
            assert list(Workers(client=client).map(plus, range(100), 2)) == list(range(2, 102))
        with pytest.raises(ConfigurationError, match=r"uses TLS.*tls\.ca-file.*TLS__CA_FILE"):
            connected(file).__enter__()


def test_wrong_certificates(certificates, tmp_path, monkeypatch):
    stranger = HOSTS.certificates(tmp_path)
    authority, certificate, key = certificates
    security = distributed.Security(
        tls_ca_file=authority,
        **{
            f"tls_{role}_{what}": file
            for role in ("scheduler", "worker", "client")
            for what, file in (("cert", certificate), ("key", key))
        },
    )
    with cluster_of_threads(protocol="tls://", security=security) as cluster:
        where = cluster.scheduler_address
        for files, message in (
            # Neither knows the other; and the scheduler does not know the client.
            (stranger, r"tls://127\.0\.0\.1.* cannot use TLS .* same authority"),
            ([authority, *stranger[1:]], r"cannot use TLS .* same authority"),
            ([authority, certificate, stranger[2]], r"settings .*cannot be used .*key belongs"),
            ([authority, "absent.pem", key], r"^absent\.pem, which .*tls\.client\.cert names"),
            ([key, certificate, key], r"cannot be used .* PEM"),
            ([None, certificate, key], r"no files .* distributed\.comm\.tls\.ca-file; set"),
        ):
            with (
                configured(files),
                pytest.raises(ConfigurationError, match=message),
                connected(where),
            ):
                pass
        # A function of a lab, which may ask for a token, gives the right ones.
        lab = SimpleNamespace(security=lambda _: security)
        monkeypatch.setitem(sys.modules, "lab", lab)
        loader = {"distributed.client.security-loader": "lab.security"}
        with dask.config.set(loader), connected(where) as client:
            assert list(Workers(client=client).map(plus, [1], 1)) == [2]


@pytest.mark.usefixtures("impatient")
def test_addresses_with_tls_and_without(certificates):
    with cluster_of_threads() as cluster, configured(certificates):
        where = cluster.scheduler_address.replace("tcp://", "tls://")
        with pytest.raises(ConfigurationError, match=r"cannot use TLS .* begins with tcp://"):
            connected(where).__enter__()
        for setting, value, message in (
            ("require-encryption", True, "require-encryption forbids the scheduler tcp://"),
            ("tls.min-version", 1.0, r"configuration of TLS.*min-version"),
        ):
            with (
                dask.config.set({f"distributed.comm.{setting}": value}),
                pytest.raises(ConfigurationError, match=message),
            ):
                connected(cluster.scheduler_address).__enter__()


# Last: clients that do not connect leave threads behind, and in two of two runs of all tests the
# thread of the cluster that started next did not come to life in ten seconds.
@pytest.mark.usefixtures("impatient")
def test_a_scheduler_by_its_address_or_file(tmp_path):
    file = tmp_path / "scheduler.json"
    with cluster_of_threads() as cluster:
        file.write_text(json.dumps({"address": cluster.scheduler_address}))
        for where in (cluster.scheduler_address, str(file)):
            with connected(where) as client:
                assert list(Workers(client=client).map(plus, [1], 1)) == [2]
    for where in ("tcp://127.0.0.1:1", "no-such-file.json"):
        with pytest.raises(ConfigurationError, match="no dask scheduler answers"), connected(where):
            pass
    file.write_text("{}")
    with pytest.raises(ConfigurationError, match=r"json: this is not a file that dask"):
        connected(str(file)).__enter__()
