"""The bodies and the path of requests about users."""

import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from kowalski.alerts.survey import key_of
from kowalski.api.models.fields import Body
from kowalski.api.models.login import Text

#: programids and groups are 32-bit integers
LARGEST = 2**31 - 1


def _name(name: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in name) or name in (".", ".."):
        raise PydanticCustomError("username", "a name has no control characters, and is not . or ..")
    return name


def _permissions(value: Any) -> Any:
    """Surveys by the key of their collections: in upper case, WINTER as WNTR."""
    if not isinstance(value, dict):
        raise ValueError("permissions must be an object of surveys")
    by_key: dict[str, Any] = {}
    for name, permission in value.items():
        key = key_of(str(name)) or str(name).upper()
        if not re.fullmatch(r"[A-Z0-9]{1,20}", key):
            raise ValueError(f"permissions: {name!r:.50} is not a survey")
        if key in by_key:
            raise ValueError(f"permissions: {key} is there twice")
        if not isinstance(permission, bool) and not _integers(permission, 0):
            raise ValueError(f"permissions: {key} must be true, false, or a list of programids")
        by_key[key] = permission
    return by_key


def _groups(value: Any) -> Any:
    if not _integers(value, 1):
        raise ValueError("groups must be a list of SkyPortal's group ids")
    return value


def _integers(value: Any, least: int) -> bool:
    return isinstance(value, list) and all(type(each) is int and least <= each <= LARGEST for each in value)


def _or(empty: type) -> BeforeValidator:
    """A validator that takes null for an empty value."""
    return BeforeValidator(lambda value: empty() if value is None else value)


Username = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_name)]
Password = Annotated[str, Field(min_length=1, max_length=1000)]
Email = Annotated[str, Field(max_length=1000)]
Permissions = Annotated[
    dict[str, StrictBool | list[StrictInt]],
    BeforeValidator(_permissions),
    Field(
        description="per survey the programids that the user may see; true: all of it, false: nothing beyond the public data",
        examples=[{"ZTF": [1, 2], "PGIR": True}],
    ),
]
Groups = Annotated[
    list[StrictInt],
    BeforeValidator(_groups),
    Field(description="SkyPortal's groups whose filters the user may see and edit", examples=[[41, 42]]),
]


class NewUser(Body):
    """A user to be added."""

    username: Username
    password: Password
    email: Email | None = None
    permissions: Annotated[Permissions, _or(dict)] = {}
    groups: Annotated[Groups, _or(list)] = []

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, content: Any) -> Any:
        if isinstance(content, dict) and not (content.get("username") and content.get("password")):
            raise ValueError("username and password must be set")
        return content


class Edit(Body):
    """What changes of a user; what is not named, or null, stays."""

    username: Username | None = Field(None, description="a new name; the user's tokens end")
    password: Password | None = Field(None, description="a new password; the user's tokens end")
    email: Email | None = None
    permissions: Permissions | None = None
    groups: Groups | None = None
    revoke_tokens: bool = Field(False, description="end all tokens of the user")


class UserPath(Body):
    """Which user."""

    username: Text
