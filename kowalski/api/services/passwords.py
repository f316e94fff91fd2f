"""Passwords as bcrypt keeps them; hashing and checking take a quarter of a second of a core (by 12 rounds) and leave the GIL free."""

import asyncio
import base64
import binascii
import hashlib
from concurrent.futures import ThreadPoolExecutor

import bcrypt

#: bcrypt reads no more
LONGEST = 72


class Hasher:
    """Hashes and checks in one thread of its own, so that logins never hold up queries."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._thread = ThreadPoolExecutor(1, "bcrypt")

    def close(self) -> None:
        """End the thread; what it does not do yet is not done."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """`hash_password`, in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, hash_password, password, self._rounds)

    async def matches(self, password: str, hashed: str) -> bool:
        """`matches`, in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, matches, password, hashed)


def hash_password(password: str, rounds: int) -> str:
    """The salted hash of a password; it takes 2 to the power of ``rounds`` steps."""
    return bcrypt.hashpw(_material(password), bcrypt.gensalt(rounds)).decode()


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
