"""Passwords as bcrypt keeps them; hashing and checking take a quarter of a second of a core and leave the GIL free."""

import base64
import binascii
import hashlib

import bcrypt

ROUNDS = 12
#: bcrypt reads no more
LONGEST = 72


def hash_password(password: str) -> str:
    """The salted hash of a password."""
    return bcrypt.hashpw(_material(password), bcrypt.gensalt(ROUNDS)).decode()


def matches(password: str, hashed: str) -> bool:
    """Whether a hash is that of a password, in the form of now or of version 3; False for what is no hash."""
    try:
        if is_old(hashed):
            old = base64.b64decode(hashed, validate=True)
            return bcrypt.checkpw(password.encode()[:LONGEST], old)  # all that version 3 looked at
        return bcrypt.checkpw(_material(password), hashed.encode())
    except (ValueError, binascii.Error):
        return False


def is_old(hashed: str) -> bool:
    """Whether a hash is one of version 3: bcrypt's, in base64."""
    return not hashed.startswith("$2")


def _material(password: str) -> bytes:
    """A password as bcrypt can take it: longer ones by their digest, all of which counts."""
    data = password.encode()
    return data if len(data) <= LONGEST else base64.b64encode(hashlib.sha256(data).digest())
