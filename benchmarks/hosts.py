"""A dask cluster with TLS on several hosts, which are network namespaces of this machine.

Each host has a network interface and an address of its own, and reaches the others and this
process through a bridge, as through a switch.  The file system is that of this machine, like one
that hosts share.  This needs root, iproute2 and openssl.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import dask
from distributed import Client

_NETWORK = "10.213.7"
_PORT = 8786


@contextmanager
def client_of_hosts(n_workers: int, rate: str | None = None) -> Iterator[Client]:
    """Client of a scheduler and of workers with one thread, each on a host of its own.

    Parameters
    ----------
    n_workers
        Number of workers.
    rate
        Speed of the network interface of each host, such as ``"1gbit"``; default: no limit.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        authority, certificate, key = certificates(folder)
        tls = ["--tls-ca-file", authority, "--tls-cert", certificate, "--tls-key", key]
        names = [f"mil{os.getpid()}h{k}" for k in range(n_workers + 1)]
        connect_hosts(stack, names, rate)
        address = f"tls://{_NETWORK}.2:{_PORT}"
        commands = [["scheduler", "--host", f"{_NETWORK}.2", "--port", str(_PORT)]]
        commands += n_workers * [["worker", address, "--nthreads", "1"]]
        for name, command in zip(names, commands, strict=True):
            words = [sys.executable, "-m", "dask", *command, "--no-dashboard", *tls]
            log = stack.enter_context((folder / f"{name}.log").open("w"))
            host = subprocess.Popen(["ip", "netns", "exec", name, *words], stdout=log, stderr=log)
            stack.callback(host.wait)
            stack.callback(host.terminate)
        settings = {"ca-file": authority, "client.cert": certificate, "client.key": key}
        stack.enter_context(
            dask.config.set({f"distributed.comm.tls.{name}": f for name, f in settings.items()})
        )
        client = stack.enter_context(Client(address, timeout=60))
        client.wait_for_workers(n_workers, timeout=60)
        yield client


def connect_hosts(stack: ExitStack, names: Sequence[str], rate: str | None) -> None:
    """Make the hosts, and remove them when the stack is closed."""
    bridge = f"mil{os.getpid()}"
    ip("link", "add", bridge, "type", "bridge")
    stack.callback(ip, "link", "del", bridge)
    ip("address", "add", f"{_NETWORK}.1/24", "dev", bridge)
    ip("link", "set", bridge, "up")
    for k, name in enumerate(names):
        ip("netns", "add", name)
        stack.callback(ip, "netns", "del", name)
        ip("link", "add", f"{name}v", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", f"{name}v", "master", bridge, "up")
        ip("-n", name, "address", "add", f"{_NETWORK}.{k + 2}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        if rate is not None:  # both ways: what the host sends, and what the bridge sends to it
            limit = ["root", "tbf", "rate", rate, "burst", "1mb", "latency", "50ms"]
            tell("tc", "-n", name, "qdisc", "add", "dev", "eth0", *limit)
            tell("tc", "qdisc", "add", "dev", f"{name}v", *limit)


def certificates(folder: Path) -> tuple[str, str, str]:
    """Files of an authority, and of a certificate that it signs for all hosts, and its key."""
    names = [str(folder / name) for name in ("ca.pem", "node.pem", "node.key")]
    authority, certificate, key = names
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    secret, request = str(folder / "ca.key"), str(folder / "node.csr")
    first = ["-x509", *new, "-subj", "/CN=authority", "-keyout", secret, "-out", authority]
    tell("openssl", "req", *first)
    tell("openssl", "req", *new, "-subj", "/CN=node", "-keyout", key, "-out", request)
    signed = ["-CA", authority, "-CAkey", secret, "-CAcreateserial", "-out", certificate]
    tell("openssl", "x509", "-req", "-in", request, *signed)
    return authority, certificate, key


def ip(*words: str) -> None:
    tell("ip", *words)


def tell(*words: str) -> None:
    """Run a command; its own words say why it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr.strip()}")
