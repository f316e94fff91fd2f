"""What answers look like, for the documentation; `answers.success` makes them."""

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

T = TypeVar("T")


class Success(BaseModel, Generic[T]):
    """All went well."""

    status: Literal["success"]
    message: str
    data: T = Field(default=None, description="absent where there is none")  # type: ignore[assignment]


class Error(BaseModel):
    """Something went wrong: in the request (4xx) or here (5xx)."""

    status: Literal["error", "already_exists"]
    message: str
    data: Any = None


class LoggedIn(BaseModel):
    """The answer to a login."""

    status: Literal["success"]
    token: str = Field(description="to be sent as the header Authorization, with or without Bearer before it")
