"""Classifications of ZTF's sources by machine: of each class a folder, in one for each architecture."""

from collections.abc import Iterator
from pathlib import Path

from kowalski.errors import IngestError
from kowalski.ingesters.formats.hdf5 import Hdf5Table
from kowalski.ingesters.formats.table import Layout, python_values
from kowalski.ingesters.recipe import PIECE, Piece, Recipe, Rejected

ARCHITECTURES = ("xgb", "dnn")


class ZtfClassifications(Recipe):
    """``{xgb,dnn}/CLASS/*.h5``, of which CLASS may stand between a release and a suffix: ``d15.e.c``.

    A source's document has a field ``<class>_<architecture>`` for each, with the probability.
    """

    name = "ztf_source_classifications"
    about = "classifications of ZTF sources (van Roestel et al. 2021, AJ 161, 267)"
    files = ("*.h5",)
    parts = {"classifications": "ZTF_source_classifications_{tag}"}
    tag = "DR5"
    merges = True

    def takes(self, path: Path) -> bool:
        return super().takes(path) and len(path.parts) > 2 and path.parts[-3] in ARCHITECTURES

    def rows(self, path: Path) -> int | None:
        with Hdf5Table(path, Layout(("_id", "score"), unit="preds")) as table:
            return table.rows

    def pieces(self, path: Path, first: int, last: int | None) -> Iterator[Piece]:
        field = _field(path.resolve())
        with Hdf5Table(path, Layout(("_id", "score"), unit="preds")) as table:
            for block in table.blocks(first, last, PIECE):
                documents, rejected = [], []
                pairs = zip(*(python_values(block.columns[name]) for name in ("_id", "score")), strict=True)
                for row, (identifier, score) in enumerate(pairs, block.first):
                    if identifier is None or score is None:
                        rejected.append(Rejected(row, "no identifier, or no score"))
                    else:
                        documents.append({"_id": int(identifier), field: score})
                yield Piece(block.first + block.rows, block.rows, {"classifications": documents}, 0, rejected=rejected)


def _field(path: Path) -> str:
    """The field of a file's scores."""
    architecture, folder = path.parts[-3], path.parts[-2]
    parts = folder.split(".")
    name = parts[1] if len(parts) == 3 else folder
    if architecture not in ARCHITECTURES or not name or "." in name or name.startswith("$"):
        raise IngestError(f"{path.name}: the class and the architecture stand in its folders' names: {{xgb,dnn}}/CLASS/{path.name}")  # fmt: skip
    return f"{name}_{architecture}"
