"""Whatever can be set, asked, run or measured is documented: each setting, route, command and metric stands in the built pages with words of its own."""

import html
import inspect
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from kowalski.api.routes import ROUTES
from kowalski.config import ROOT
from kowalski.documentation.commands import arguments_of, command_line
from kowalski.documentation.extension import ELSEWHERE, LINK, contents, page_of, within_the_site
from kowalski.documentation.metrics import metrics
from kowalski.documentation.routes import shown_path
from kowalski.documentation.settings import settings
from kowalski.documentation.tables import table
from kowalski.settings import Config


@pytest.fixture(scope="module")
def rows(site: Path) -> dict[str, dict[str, list[str]]]:
    """Of each page of the reference: the first cell of each row, and what stands in the others."""
    pages = {}
    for name in ("settings", "routes", "commands", "metrics"):
        text = (site / f"{name}.html").read_text()
        found = re.findall(r"<tr[^>]*>(.*?)</tr>", text, re.DOTALL)
        cells = [[plain(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)] for row in found]
        pages[name] = {first: others for first, *others in cells}
    return pages


def plain(cell: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", cell)).split())


# settings


def typed(model: type[BaseModel], path: tuple[str, ...] = ()) -> list[str]:
    """The settings that the types know, by their paths; of mappings their own name."""
    found = []
    for name, field in model.model_fields.items():
        here = (*path, field.alias or name)
        inner = models_in(field.annotation)
        found += typed(inner[0], here) if inner else [".".join(here)]
    return found


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType):
        return [model for option in get_args(annotation) for model in models_in(option)]
    return []


def leaves(tree: dict[str, Any], path: tuple[str, ...] = ()) -> list[str]:
    found = []
    for key, value in tree.items():
        here = (*path, str(key))
        found += leaves(value, here) if isinstance(value, dict) and value else [".".join(here)]
    return found


def test_every_setting_stands_in_the_reference_with_its_meaning(rows: dict[str, dict[str, list[str]]]) -> None:
    shown = rows["settings"]
    assert [name for name, (_, _, meaning) in shown.items() if not meaning and name != "setting"] == []
    defaults = yaml.safe_load((ROOT / "config.defaults.yaml").read_text())["kowalski"]
    known = shown.keys()
    for name in leaves(defaults):
        assert any(name == each or name.startswith(f"{each}.") for each in known), name


def test_every_typed_setting_stands_there(rows: dict[str, dict[str, list[str]]]) -> None:
    """Also one that the defaults would leave out."""
    known = [comparable(name) for name in rows["settings"]]
    missing = [
        name
        for name in map(comparable, typed(Config))
        if not name.endswith(".surveys")  # holds the sections that are named after surveys
        and not any(name == each or each.startswith(f"{name}.") or name.startswith(f"{each}.") for each in known)
    ]
    assert missing == []


def comparable(name: str) -> str:
    """A setting's name as the types have it, where the files have another case or a dot."""
    return name.lower().replace("bootstrap.", "bootstrap_").replace("auto.offset.", "auto_offset_")


def test_types_and_defaults_are_shown() -> None:
    shown = {each.name: each for each in settings()}
    assert shown["server.port"][1:3] == ("integer ≥ 1, ≤ 65535", "4000")
    assert shown["server.admin_password"].type == "text or null"
    assert shown["night.auto"][1:3] == ("true or false", "false")


# routes


def test_every_route_stands_in_the_reference_with_what_it_does(rows: dict[str, dict[str, list[str]]]) -> None:
    for route in ROUTES:
        _, takes, does = rows["routes"][f"{route.method} {shown_path(route)}"]
        assert len(does) > 10, route.path
        if route.body is not None:
            assert takes, route.path


# commands


def test_every_command_and_option_stands_in_the_reference(rows: dict[str, dict[str, list[str]]], site: Path) -> None:
    text = (site / "commands.html").read_text()
    for name in command_line().COMMANDS:
        assert f'<section id="{name}">' in text or re.search(
            rf'<h3><code[^>]*><span class="pre">{name}</span>', text
        ), name
        for shown, _, said in arguments_of(command_line().parser_of(name)):
            assert rows["commands"][shown][-1] or not said, (name, shown)


# metrics


def test_every_metric_stands_in_the_reference_with_what_it_says(rows: dict[str, dict[str, list[str]]]) -> None:
    assert {"kowalski_api_requests", "kowalski_broker_lag", "kowalski_quarantine_packets"} <= {
        each.name for each in metrics()
    }
    for metric in metrics():
        name = metric.name + "_total" * (metric.kind == "counter")
        assert rows["metrics"][name][-1] == metric.text
        assert len(metric.text) > 5, name


# how pages are made


def test_a_link_to_a_document_elsewhere_leads_to_its_page() -> None:
    def linked(text: str) -> str:
        return LINK.sub(within_the_site, text)

    assert linked("[a](../CONTRIBUTING.md#checks)") == "[a](contributing.md#checks)"
    assert linked("[a](../README.md#commands)") == "[a](index.md)"
    assert (
        linked("[a](nights.md#x) [b](https://example.org/README.md)")
        == "[a](nights.md#x) [b](https://example.org/README.md)"
    )


def test_documents_elsewhere_keep_their_links() -> None:
    assert "](security.md)" in page_of("changelog")
    assert set(ELSEWHERE) <= {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.md") if ".venv" not in path.parts}


def test_a_page_that_the_index_does_not_name_comes_last() -> None:
    index = "# A\n\n## One\n\n- [b](b.md): x\n- [c](c.md)\n\n## Two\n\n- [d](d.md)\n"
    trees = list(contents(index, {"index", "b", "c", "d", "new", "another"}))
    assert [re.findall(r"^\w[\w ]*$|^:caption: .*$", tree, re.MULTILINE) for tree in trees] == [
        [":caption: One", "b", "c"], [":caption: Two", "d"], [":caption: More", "another", "new"],
    ]  # fmt: skip


def test_a_bar_in_a_cell_is_no_border() -> None:
    assert table(("a",), [("x|y",)]).splitlines()[-1] == r"| x\|y |"


def test_the_image_of_the_api_has_what_builds_the_pages() -> None:
    """None of the packages that only the other image has is imported for the reference."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    ours = {each for name in ("core", "api", "docs", "tests") for each in groups[name] if isinstance(each, str)}
    absent = {
        each.lower().replace("_", "-") for each in groups["ingester"] if isinstance(each, str) and each not in ours
    }
    names = sorted(
        module
        for module, packages in packages_distributions().items()
        if {each.lower().replace("_", "-") for each in packages} & absent - {"fsspec"}  # dask brings it
        and module not in ("google", "tests", "tools", "examples")
    )
    assert {"tensorflow", "sncosmo", "onnxruntime"} <= set(names)
    code = f"""
import sys
from importlib.machinery import PathFinder
class Less(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {names} else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Less
from kowalski.documentation.extension import GENERATED
for make in GENERATED.values():
    assert make()
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
