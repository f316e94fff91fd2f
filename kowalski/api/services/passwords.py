"""Passwords as bcrypt keeps them; both functions take a quarter of a second of a core and leave the GIL free."""

import base64
import hashlib

import bcrypt

ROUNDS = 12
#: bcrypt reads no more
LONGEST = 72


def hash_password(password: str) -> str:
    """The salted hash of a password."""
    return bcrypt.hashpw(_material(password), bcrypt.gensalt(ROUNDS)).decode()


def matches(password: str, hashed: str) -> bool:
    """Whether a hash is that of a password; False for what isn't a hash of ours."""
    try:
        return bcrypt.checkpw(_material(password), hashed.encode())
    except ValueError:
        return False


def _material(password: str) -> bytes:
    """A password as bcrypt can take it: longer ones by their digest, all of which counts."""
    data = password.encode()
    return data if len(data) <= LONGEST else base64.b64encode(hashlib.sha256(data).digest())
