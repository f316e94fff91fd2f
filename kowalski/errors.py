"""The errors of Kowalski: one small tree, each knowing whether a retry can help and its HTTP status."""

from typing import Any


class KowalskiError(Exception):
    """Root of all errors raised on purpose; its text says what is wrong and what to do.

    ``wait_s``: seconds for which a retry would be in vain, where that is known.
    """

    retriable = False
    http_status = 500
    wait_s: float | None = None
    #: what somebody at a terminal may do next, where the text can't know
    hint = ""


class ConfigError(KowalskiError):
    """The settings are wrong: the text names the key's path."""

    hint = "config.defaults.yaml has every setting with what it means; docs/configuration.md tells which files are read"


class PacketError(KowalskiError):
    """A packet can't be processed and belongs in quarantine.

    Parameters
    ----------
    reason : a short slug, the same for all packets with the same fault (e.g. ``"truncated"``)
    detail : what was found, in words; as it may quote the packet, not more than `LONGEST` of it, and no half of a letter
    """

    http_status = 400
    LONGEST = 10_000

    def __init__(self, reason: str, detail: str):
        detail = detail[: self.LONGEST].encode(errors="replace").decode()
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.detail)


class SchemaError(KowalskiError):
    """A schema can't be had, or isn't what it should be."""


class ModelError(KowalskiError):
    """A neural network is missing, is not the one the settings name, or fails."""


class FilterError(KowalskiError):
    """A user's filter is invalid or can't be run."""

    http_status = 400


class IngestError(KowalskiError):
    """A file can't be ingested, or not as it is asked for."""

    http_status = 400


class WatchlistError(KowalskiError):
    """A watchlist can't be read, or can't be had; the text names row and column."""

    http_status = 400


class SkymapError(KowalskiError):
    """A sky map or notice can't be read, or holds nothing."""

    http_status = 400


class TelescopeError(KowalskiError):
    """A telescope's queue is not reached, or says nothing."""

    http_status = 400


class SourceError(KowalskiError):
    """What is asked of a server elsewhere is refused, not to be had or not what it should be; the text names it."""

    def __init__(self, message: str, retriable: bool = False, wait_s: float | None = None):
        super().__init__(message)
        self.retriable = retriable
        self.wait_s = wait_s

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.retriable, self.wait_s)


class QuarantineError(KowalskiError):
    """What is asked of quarantine can't be done; the text names the packet."""


class DatabaseError(KowalskiError):
    """MongoDB refused an operation for a reason that a retry won't mend."""


class TooLarge(DatabaseError):
    """A document is larger than MongoDB takes (16 MB)."""


class DatabaseUnavailable(DatabaseError):
    """MongoDB can't be reached or has no primary at the moment."""

    retriable = True
    http_status = 503
    hint = "./kowalski.py status says what runs, ./kowalski.py up starts it; database.host and database.port say where MongoDB is looked for"


class BackupError(KowalskiError):
    """A backup can't be made, is not whole, or can't be restored here; the text names what is in the way."""


class ArchiveError(KowalskiError):
    """The packet archive hasn't what is asked for, or what it has is broken; the text names the packet or the file."""


class VerifyError(KowalskiError):
    """A stored alert can't be verified: the text says what is missing, or what is to be added."""

    http_status = 400


class ArchiveUnavailable(ArchiveError):
    """The packet archive can't be written, or its remote store not be reached, at the moment: the disk is full, or away."""

    retriable = True
    http_status = 503


class TableError(KowalskiError):
    """A table can't be written or read; the text names the file."""

    def __init__(self, message: str, retriable: bool = False):
        super().__init__(message)
        self.retriable = retriable

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.retriable)


class StreamError(KowalskiError):
    """Kafka refused an operation; the text names the topic or setting."""


class OutputUnavailable(StreamError):
    """The Kafka that gets what we tell takes nothing at the moment."""

    retriable = True
    http_status = 503


class FitError(KowalskiError):
    """A light curve can't be fitted: the text is the reason that is stored."""


class SkyPortalError(KowalskiError):
    """SkyPortal answered with an error, or not at all (``status`` is then None).

    ``sent``: whether the request may have reached it.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        retriable: bool = False,
        sent: bool = True,
        wait_s: float | None = None,
    ):
        super().__init__(message)
        self.status = status
        self.retriable = retriable
        self.sent = sent
        self.wait_s = wait_s

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.status, self.retriable, self.sent, self.wait_s)


class LocalError(KowalskiError):
    """A part of local mode can't start here; the text says what is missing and what to do."""
