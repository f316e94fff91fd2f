"""Documents that come one by one, taken many at a time."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

Document = dict[str, Any]


async def listed(rows: AsyncIterator[Document]) -> list[Document]:
    """All documents at once."""
    return [row async for row in rows]


async def gathered(rows: AsyncIterator[Document], number: int) -> AsyncGenerator[list[Document]]:
    """All documents, so many together; their source is closed with this."""
    together: list[Document] = []
    try:
        async for row in rows:
            together.append(row)
            if len(together) == number:
                yield together
                together = []
        if together:
            yield together
    finally:
        await rows.aclose()  # type: ignore[attr-defined]
