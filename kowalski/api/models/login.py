"""The body of a login."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from kowalski.api.models.fields import Body


def encodable(text: str) -> str:
    """The text; JSON can spell half a character, which is in no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("unicode", "half a character") from None
    return text


Text = Annotated[str, AfterValidator(encodable)]
#: null is none
TextOrNone = Annotated[Text, BeforeValidator(lambda value: "" if value is None else value)]


class Login(Body):
    """A name and a password, and which penquins asks."""

    username: TextOrNone = ""
    password: TextOrNone = ""
    penquins: Any = Field(None, alias="penquins.__version__")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.username:
            raise ValueError("missing username")
        if not self.password:
            raise ValueError("missing password")
        return self
