"""Who may talk to a dask scheduler, and how: in the clear on loopback, by mutual TLS beyond it.

A scheduler runs whatever reaches it sends, so that its port is as good as a shell of its user.
"""

import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dask
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from distributed import Client, Security

from kowalski.config import ROOT
from kowalski.errors import ConfigError
from kowalski.settings import Dask, dask_section

CONNECTIONS = {
    # how soon processes notice that another host is gone: kernel's keep-alive and time-out of what is not acknowledged
    "distributed.comm.timeouts.connect": "10s",
    "distributed.comm.timeouts.tcp": "15s",
    # each end of a connection remembers so many messages that it sent, up to 1 MB each: 1000 otherwise, and ours hold packets
    "distributed.admin.low-level-log-length": 10,
}

MAKE = "./kowalski.py certificates makes them"


def name_of_workers(survey: str) -> str:
    """How the names of a survey's workers on this machine begin."""
    return f"{survey}-{socket.gethostname()}-"


def security_of(survey: str, settings: Dask) -> Security | None:
    """What proves to a survey's scheduler, workers and brokers that they belong together; None: they are on loopback, in the clear.

    Raises
    ------
    ConfigError : they can be reached from other machines without TLS, or the files are missing, ended or don't fit
    """
    section = dask_section(survey)
    if not settings.encrypted:
        if settings.loopback_only:
            return None
        where = f"{section}.host {settings.host}" + (f", {section}.listen {settings.listen}" if settings.listen else "")
        raise ConfigError(f"{where}: beyond loopback a scheduler needs TLS, {section}.tls.{{ca,cert,key}}; {MAKE}")
    ca, cert, key = (_file(f"{section}.tls.{name}", getattr(settings.tls, name)) for name in ("ca", "cert", "key"))
    _require_fit(section, ca, cert, key)
    pair = {"cert": cert, "key": key}
    roles = {f"tls_{role}_{part}": path for role in ("client", "scheduler", "worker") for part, path in pair.items()}
    return Security(require_encryption=True, tls_ca_file=ca, **roles)


def connection_arguments(survey: str, settings: Dask) -> dict[str, Any]:
    """What dask's calls need to reach a survey's scheduler as a client."""
    security = security_of(survey, settings)
    return security.get_connection_args("client") if security else {}


def connect_client(survey: str, settings: Dask, timeout: str, name: str) -> Client:
    """A client of a survey's scheduler; raises OSError when that can't be reached in time."""
    dask.config.set(CONNECTIONS)
    security = security_of(survey, settings)
    return Client(settings.address, timeout=timeout, name=name, security=security, set_as_default=False)


def _file(setting: str, value: str | None) -> str:
    if value is None:
        raise ConfigError(f"{setting} is null, where other files of the same section are named; {MAKE}")
    path = ROOT / value
    try:
        path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: {path}: {error.strerror}; {MAKE}") from None
    return str(path)


def _require_fit(section: str, ca: str, cert: str, key: str) -> None:
    """The key is that of the certificate, whose CA it is, and neither has ended."""
    for path in (cert, ca):
        ends = _end_of(path)
        if ends is None:
            raise ConfigError(f"{section}.tls: {path} is not a certificate (PEM); {MAKE}")
        if ends < datetime.now(UTC):
            raise ConfigError(
                f"{section}.tls: {path} ended {ends:%Y-%m-%d}: ./kowalski.py certificates --renew, and copy the new files"
            )
    try:
        ssl.create_default_context(cafile=ca).load_cert_chain(cert, key)
        _certificate(cert).verify_directly_issued_by(_certificate(ca))
    except (OSError, ValueError, TypeError, InvalidSignature) as error:
        raise ConfigError(f"{section}.tls: {cert} has another key, or is of another CA ({error!r}); {MAKE}") from None


def _certificate(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


def _end_of(path: str) -> datetime | None:
    with suppress(ValueError):
        return _certificate(path).not_valid_after_utc
    return None
