"""Which programs a machine runs of a system that several machines share."""

from pathlib import Path
from typing import Any

import pytest

from kowalski.config import build, isolated_tree
from kowalski.local.programs import Program, programs_of


def cluster(**dask: Any) -> Program:
    """The dask cluster of ZTF as this machine runs it."""
    config = build(isolated_tree({"dask": dask, "enabled": {"ztf": True}}))
    [found] = [
        program for program in programs_of(config, Path(), None, False, {}) if program.name == "dask-cluster-ztf"
    ]
    return found


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_machine_with_the_schedulers_address_runs_it(host: str) -> None:
    program = cluster(host=host)
    assert program.command(print)[-2:] == ["kowalski.dask_cluster", "ZTF"]
    assert [endpoint.host for endpoint in program.endpoints] == [host, "127.0.0.1"]


def test_what_the_scheduler_binds_has_to_be_free() -> None:
    assert cluster(host="127.0.0.1", listen="0.0.0.0").endpoints[0].host == "0.0.0.0"


@pytest.mark.parametrize("enabled", [True, False])
def test_the_keeper_of_the_archive_runs_where_packets_are_kept(enabled: bool) -> None:
    config = build(isolated_tree({"archive": {"enabled": enabled}}))
    names = [program.name for program in programs_of(config, Path(), None, False, {})]
    assert ("archive-keeper" in names) is enabled


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_other_machines_join_it(host: str) -> None:
    program = cluster(host=host)
    assert program.command(print)[-3:] == ["kowalski.dask_cluster", "ZTF", "--join"]
    assert program.endpoints == ()


def test_light_curves_are_fitted_where_transients_are_looked_for() -> None:
    found = {}
    for enabled in (False, True):
        programs = programs_of(build(isolated_tree({"transients": {"enabled": enabled}})), Path(), None, False, {})
        found[enabled] = [each.command(print)[1:] for each in programs if each.name == "transient-fitter"]
    assert found == {False: [], True: [["-m", "kowalski.transients"]]}
