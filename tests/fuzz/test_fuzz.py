"""The short form: every input that was kept, and some thousand new ones, raise nothing that isn't declared."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .session import CORPUS, TARGETS, Outcome, run

pytest.importorskip("atheris", reason="atheris has packages for Linux on x86-64 only")

#: executions of each target, the corpus included
EXECUTIONS = {"packet": 1000, "stamp": 2000, "query": 2000, "filter": 2000, "sieve": 2000, "settings": 150}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Outcome, str]]:
    """What each target came to; two at a time, as there are so many cores at least."""
    folder: Path = tmp_path_factory.mktemp("fuzz")

    def short(target: str) -> tuple[Outcome, str]:
        return run(
            target, folder / target / "finds", folder / target / "crashes", f"-runs={EXECUTIONS[target]}", "-seed=1"
        )

    with ThreadPoolExecutor(2) as both:
        return dict(zip(TARGETS, both.map(short, TARGETS), strict=True))


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_raised_that_is_not_declared(outcomes: dict[str, tuple[Outcome, str]], target: str) -> None:
    outcome, said = outcomes[target]
    assert outcome.crashes == {}, said[-5000:]
    assert outcome.executions >= max(EXECUTIONS[target], len(list((CORPUS / target).iterdir())))
    assert outcome.coverage > 0


def test_every_target_has_its_corpus() -> None:
    assert sorted(folder.name for folder in CORPUS.iterdir()) == sorted(TARGETS)
