"""How alerts go to MongoDB with a pipeline: as many at once as it and one command allow."""

from collections.abc import Iterator

from bson.raw_bson import RawBSONDocument

from kowalski.filters.compile import CompiledStages
from kowalski.filters.language import Stage

#: bytes of documents sent with one aggregation; the server's limit for one document is 16 MiB
CHUNK_BYTES = 8 * 1024 * 1024

Batch = list[RawBSONDocument]


def portions(compiled: CompiledStages, batch: Batch) -> tuple[list[Stage], list[Batch]]:
    """A pipeline's stages, and the alerts as they may go through them: many at once, or each by itself."""
    if compiled.together is not None:
        return compiled.together, list(chunks(batch))
    return compiled.alone, [[document] for document in batch]


def chunks(batch: Batch) -> Iterator[Batch]:
    """The alerts in their order, as many at a time as one command takes."""
    chunk: Batch = []
    size = 0
    for document in batch:
        if chunk and size + len(document.raw) > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(document)
        size += len(document.raw)
    if chunk:
        yield chunk
