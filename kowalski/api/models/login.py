"""The body of a login."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from kowalski.api.models.fields import Body

def _encodable(text: str) -> str:
    """JSON can spell half a character, which is in no name and no password."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("username and password must be valid Unicode") from None
    return text


#: a text; null is none
Text = Annotated[str, AfterValidator(_encodable), BeforeValidator(lambda value: "" if value is None else value)]


class Login(Body):
    """A name and a password, and which penquins asks."""

    username: Text = ""
    password: Text = ""
    penquins: Any = Field(None, alias="penquins.__version__")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.username:
            raise ValueError("missing username")
        if not self.password:
            raise ValueError("missing password")
        return self
