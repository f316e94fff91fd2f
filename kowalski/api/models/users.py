"""The bodies about users and their tokens."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from kowalski.alerts.survey import MODULES
from kowalski.api.models.fields import Body

#: names of surveys that stand for the key of collections
KEYS = {module.upper(): key for key, module in MODULES.items()}

Permission = bool | list[Annotated[int, Field(ge=0, strict=True)]]


def _name(name: str) -> str:
    if not 1 <= len(name) <= 200 or re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", name):
        raise ValueError("a username has 1 to 200 characters, no control characters among them")
    return name


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the password must be valid Unicode") from None
    return text


def _by_key(permissions: dict[str, Permission]) -> dict[str, Permission]:
    """Surveys by the key of their collections: in upper case, WINTER as WNTR."""
    keys = {name: KEYS.get(name.upper(), name.upper()) for name in permissions}
    if bad := [name for name, key in keys.items() if not re.fullmatch(r"[A-Z0-9]{1,20}", key)]:
        raise ValueError(f"permissions: {bad[0]!r:.100} is not a survey")
    return {keys[name]: value for name, value in permissions.items()}


def _no_nulls(value: Any) -> Any:
    return {} if value is None else value


Username = Annotated[str, AfterValidator(_name)]
Password = Annotated[str, AfterValidator(_encodable), Field(min_length=1, max_length=1000)]
Permissions = Annotated[
    dict[str, Permission],
    AfterValidator(_by_key),
    Field(description="per survey the programids that the user may see; true: all of it, false: nothing", examples=[{"ZTF": [1, 2], "PGIR": True}]),
]  # fmt: skip
Groups = Annotated[list[Annotated[int, Field(ge=1, strict=True)]], Field(description="SkyPortal's groups whose filters the user may edit")]  # fmt: skip


class NewUser(Body):
    """A user to be added."""

    username: Username
    password: Password
    email: str | None = None
    permissions: Annotated[Permissions, BeforeValidator(_no_nulls)] = {}
    groups: Annotated[Groups, BeforeValidator(lambda value: [] if value is None else value)] = []

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, content: Any) -> Any:
        if isinstance(content, dict) and not (content.get("username") and content.get("password")):
            raise ValueError("username and password must be set")
        return content


class Edit(Body):
    """What changes of a user; what is not named stays."""

    username: Username | None = Field(None, description="a new name; the user's tokens end")
    password: Password | None = Field(None, description="a new password; the user's tokens end")
    email: str | None = None
    permissions: Permissions | None = None
    groups: Groups | None = None
    revoke_tokens: bool = Field(False, description="end all tokens of the user")


class UserPath(Body):
    """Which user."""

    username: str


class NewToken(Body):
    """A personal token to be made."""

    name: Annotated[str, Field(max_length=200)] = Field("", description="what the token is for")
    expires_in: Annotated[int, Field(ge=1, le=10**9)] | None = Field(None, description="s from now; null: never")


class TokenPath(Body):
    """Which token."""

    token_id: str
