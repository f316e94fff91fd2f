"""An HTTP client that goes through the lab as a browser does, forms and cookies included."""

import re

import requests
from api_harness import ADMIN, PASSWORD, Api

#: see the fixture `users`
STRANGER, MEMBER = "stranger", "member"


class Visitor(requests.Session):
    """An HTTP client with cookies, that knows how a form's proof is found."""

    def __init__(self, lab: Api):
        super().__init__()
        self.lab = lab

    def page(self, path: str) -> requests.Response:
        """A page, without following where it may lead."""
        return self.get(self.lab.url + path, allow_redirects=False, timeout=30)

    def submit(self, path: str, **fields: str) -> requests.Response:
        """A form, without following where it leads."""
        return self.post(self.lab.url + path, data=fields, allow_redirects=False, timeout=60)

    def proof(self, path: str = "/lab/login") -> str:
        """The proof in a page's form."""
        return self.page(path).text.split('name="proof" value="')[1].split('"')[0]

    def log_in(self, username: str = ADMIN, password: str = PASSWORD, **fields: str) -> requests.Response:
        return self.submit("/lab/login", username=username, password=password, proof=self.proof(), **fields)


def leads_to(visitor: Visitor, question: str) -> str:
    """Where a search leads that finds one object."""
    answer = visitor.get(f"{visitor.lab.url}/lab/objects", params={"q": question}, allow_redirects=False, timeout=30)
    assert answer.status_code == 303, re.sub(r"<[^>]+>", " ", answer.text)
    return answer.headers["Location"]
