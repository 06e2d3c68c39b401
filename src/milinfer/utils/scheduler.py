"""Connect to a running dask scheduler, with TLS if its address asks for it.

The certificates and the time to wait for an answer are settings of dask (``distributed.comm``), in
the configuration files of dask or in the environment.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from milinfer.exceptions import ConfigurationError
from milinfer.utils.parallel import client_type

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["connected"]

_TLS: Final = "distributed.comm.tls"
# Attributes of distributed.Security, and the settings from which it takes them.
_FILES: Final = {
    "tls_ca_file": f"{_TLS}.ca-file",
    "tls_client_cert": f"{_TLS}.client.cert",
    "tls_client_key": f"{_TLS}.client.key",
}
_ENCRYPTED: Final = ("tls", "wss")
_HOW: Final = (
    "set them in dask's configuration, or as DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
    "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY in the "
    "environment"
)


@contextmanager
def connected(address: str | None) -> Iterator[Client | None]:
    """Connect to a running dask scheduler; the connection is closed at the end of the block.

    Parameters
    ----------
    address
        Address of the scheduler, such as ``tcp://node:8786``, or ``tls://node:8786`` to use the
        certificates of dask's configuration.  It can also be the file that ``dask scheduler
        --scheduler-file`` has written.  None: no cluster is used.

    Yields
    ------
    distributed.Client or None
        Client to give as the argument `client` of other functions; None without a cluster.

    Raises
    ------
    ConfigurationError
        If dask is not installed, if a certificate is missing or refused, or if no scheduler answers
        in time.  The time is dask's setting ``distributed.comm.timeouts.connect`` (30 s).

    Examples
    --------
    >>> with connected(None) as client:
    ...     print(client)
    None
    """
    if address is None:
        yield None
        return
    make_client = client_type("a dask scheduler")
    where = _address(address)
    _require_certificates(where)
    try:
        client = make_client(where)
    except (OSError, ValueError) as error:
        raise _no_answer(where, error) from error
    with client:
        yield client


def _address(given: str) -> str:
    """The address of a scheduler, which may be in a file."""
    if not Path(given).is_file():
        return given
    try:
        return str(json.loads(Path(given).read_text(encoding="utf-8"))["address"])
    except (ValueError, KeyError, TypeError) as error:
        msg = (
            f"{given}: this is not a file that dask scheduler --scheduler-file has written "
            f"({error!r}); give that file, or the address of the scheduler"
        )
        raise ConfigurationError(msg) from error


def _require_certificates(where: str) -> None:
    """Raise unless dask is configured for the address: its own errors name no file or setting."""
    import dask
    from distributed import Security
    from distributed.comm import parse_address

    if dask.config.get("distributed.client.security-loader", None):
        return  # a function of the user, which gives other certificates
    encrypted = parse_address(where)[0] in _ENCRYPTED
    try:
        security = Security()
    except ValueError as error:
        msg = f"dask's configuration of TLS is wrong ({error}); correct it"
        raise ConfigurationError(msg) from error
    if security.require_encryption and not encrypted:
        msg = (
            f"dask's setting distributed.comm.require-encryption forbids the scheduler {where}; "
            "give an address that begins with tls://"
        )
        raise ConfigurationError(msg)
    given = {setting: getattr(security, name) for name, setting in _FILES.items()}
    # A certificate file may contain its key.
    missing = [s for s in (_FILES["tls_ca_file"], _FILES["tls_client_cert"]) if not given[s]]
    if encrypted and missing:
        msg = (
            f"the dask scheduler {where} uses TLS, and no files are named by these settings of "
            f"dask: {', '.join(missing)}; {_HOW}"
        )
        raise ConfigurationError(msg)
    for setting, file in given.items():
        # The text of a certificate may stand in the place of its file.
        if file and "\n" not in file and not os.access(file, os.R_OK):
            msg = f"{file}, which dask's setting {setting} names, cannot be read; correct the path"
            raise ConfigurationError(msg)
    try:
        security.get_connection_args("client")
    except (OSError, ssl.SSLError) as error:
        msg = (
            f"the certificates of dask's settings {', '.join(given)} cannot be used ({error}): "
            "each is a file in PEM format, and the key belongs to the certificate; correct them"
        )
        raise ConfigurationError(msg) from error


def _no_answer(where: str, error: Exception) -> ConfigurationError:
    """Error that says why there is no connection, as far as it is known."""
    from distributed.comm import CommClosedError

    first: BaseException = error
    while first.__cause__ is not None:
        first = first.__cause__
    reason = "; ".join(dict.fromkeys(str(e) or type(e).__name__ for e in (error, first)))
    was_there = isinstance(error, CommClosedError) or "SSL" in str(error)
    if where.startswith("tls://") and was_there:
        msg = (
            f"the dask scheduler {where} and this program cannot use TLS with each other "
            f"({reason}): both need certificates that the same authority has signed; those of this "
            f"program are in dask's settings {', '.join(_FILES.values())}. The address of a "
            "scheduler without TLS begins with tcp://"
        )
        return ConfigurationError(msg)
    msg = (
        f"no dask scheduler answers at {where} ({reason}); give the address that it shows, such as "
        "tcp://node:8786 (tls://node:8786 if it uses TLS), or its --scheduler-file"
    )
    return ConfigurationError(msg)
