"""What sections of settings have in common: types, and that their secrets are not shown."""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

#: names of settings whose values are not repeated
SECRET = re.compile(r"password|token|secret|api_key|key\.pem", re.IGNORECASE)
HIDDEN = "(not shown)"


class Section(BaseModel):
    """Settings that belong together: closed, immutable, and without defaults of their own."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, shown(value, name or "")


def shown(value: Any, name: str = "") -> Any:
    """A setting as it may be shown: no secret in it, however deep, in the place of none a note that there is one."""
    if isinstance(value, Mapping):
        return {key: shown(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown(item, name) for item in value]
    return HIDDEN if value is not None and SECRET.search(name) else value


def _names(value: Any) -> Any:
    """Feature names given as a list, as the text of a Python tuple, or as False for none."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            raise ValueError("not the text of a Python tuple") from None
    return () if value is False or value is None else value


def _servers(value: Any) -> Any:
    """Kafka's addresses, each with its port."""
    if isinstance(value, str):
        for server in value.split(","):
            if not server.strip().rpartition(":")[2].isdigit() or ":" not in server:
                raise ValueError(f"{server!r} is not host:port")
    return value


Servers = Annotated[str, BeforeValidator(_servers)]
Port = Annotated[int, Field(ge=1, le=65535)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
