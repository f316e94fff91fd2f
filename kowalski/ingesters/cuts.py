"""Quality cuts: what the rows that are kept have in a column."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kowalski.errors import IngestError
from kowalski.ingesters.formats.table import Column

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
FORM = re.compile(r"\s*(\S+)\s*(<=|>=|==|!=|<|>)\s*(\S+)\s*")


@dataclass(frozen=True)
class Cut:
    """One condition; where there is no value, it does not hold."""

    column: str
    sign: str
    limit: float | str

    @classmethod
    def parse(cls, text: str) -> "Cut":
        """The condition in a text such as ``Quality_flag == 0``.

        Raises
        ------
        IngestError : it is none
        """
        found = FORM.fullmatch(text)
        if not found:
            raise IngestError(f"{text!r} is no condition: COLUMN, one of {' '.join(COMPARISONS)}, and a value")
        column, sign, limit = found.groups()
        try:
            return cls(column, sign, float(limit))
        except ValueError:
            return cls(column, sign, limit.strip("'\""))

    def holds(self, column: Column) -> np.ndarray:
        """In which rows it holds, shape (N,), bool."""
        if isinstance(self.limit, str):
            values = np.array([str(value) for value in column.values.tolist()], object)
        elif column.values.dtype.kind in "iufb":
            values = column.values
        else:  # there is no value in any of these rows, or only texts
            return np.zeros(len(column.values), bool)
        return np.asarray(COMPARISONS[self.sign](values, self.limit), bool) & ~column.missing
