"""Files of certificates that settings name: they are there and can be used, or the start ends with the setting's path."""

import ssl

from kowalski.config import ROOT
from kowalski.errors import ConfigError


def authorities(setting: str, value: str | None) -> str | None:
    """The path of a file of CAs' certificates; None where the setting names none.

    Raises
    ------
    ConfigError : it can't be read, or has no certificate
    """
    if value is None:
        return None
    path = str(ROOT / value)
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl's own errors are among them
        raise ConfigError(f"{setting}: {path}: {_reason(error)}; it must have a CA's certificate (PEM)") from None
    return path


def own_certificate(setting: str, value: str | None) -> str | None:
    """The path of a file with our certificate and its key; None where the setting names none.

    Raises
    ------
    ConfigError : it can't be read, lacks one of them, or they don't fit
    """
    if value is None:
        return None
    path = str(ROOT / value)
    try:
        # without a password the key of an encrypted one would be asked for on the terminal
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(path, password="")  # nosec B106  # it has none
    except OSError as error:
        raise ConfigError(f"{setting}: {path}: {_reason(error)}; it must have a certificate and its key, not encrypted (PEM)") from None  # fmt: skip
    return path


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
