"""The body and the path of requests about personal tokens."""

from typing import Annotated

from pydantic import Field, StrictInt

from kowalski.api.models.fields import Body
from kowalski.api.models.login import Text

#: s, 30 years
LONGEST = 10**9


class NewToken(Body):
    """A personal token to be made."""

    name: Annotated[str, Field(max_length=200)] = Field("", description="what the token is for", examples=["nightly"])
    expires_in: Annotated[StrictInt, Field(ge=1, le=LONGEST)] | None = Field(
        None, description="s from now; null: never"
    )


class TokenPath(Body):
    """Which token."""

    token_id: Text
