"""The tables: what MongoDB has, exactly, while the night goes and when it is whole, whatever happens in between."""

from tables_harness import SURVEYS, Made, content, count, expected, keys

from kowalski.archive.tables.columns import TABLES


def test_duckdb_counts_what_mongodb_has(made: Made, fresh) -> None:
    tables = fresh()
    made.compact_all(tables)
    folder = tables.store.root
    for survey in SURVEYS:
        wanted = expected(made.database, survey)
        assert {table: count(folder, table, survey) for table in TABLES} == wanted
        assert wanted["points"] >= wanted["alerts"] == wanted["passes"] > 0
        assert wanted["matches"] >= 1
    for table in TABLES:
        found = keys(folder, table)
        assert len(found) == len(set(found))


def test_appended_is_what_is_whole_in_the_end(made: Made, fresh, tmp_path) -> None:
    appended, whole = fresh(), made.tables(tmp_path / "whole")
    added = appended.append()
    assert appended.append() == dict.fromkeys(TABLES, 0)
    made.compact_all(whole)
    assert content(appended.store.root) == content(whole.store.root)
    assert sum(added.values()) == sum(len(rows) for rows in content(whole.store.root).values())
