"""The body of a login."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from kowalski.api.models.fields import Body

#: a text of any kind; JSON can spell half a character, which pydantic refuses wherever a length is bounded
Text = Annotated[str, Field(max_length=10_000)]
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
