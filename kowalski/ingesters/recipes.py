"""All recipes, by name."""

from kowalski.errors import IngestError
from kowalski.ingesters.catalogs import CATALOGS
from kowalski.ingesters.matchfiles import PtfMatchfiles, ZtfMatchfiles
from kowalski.ingesters.recipe import Recipe
from kowalski.ingesters.ztf_classifications import ZtfClassifications
from kowalski.ingesters.ztf_features import ZtfFeatures
from kowalski.ingesters.ztf_public import ZtfPublic

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (*CATALOGS, PtfMatchfiles(), ZtfMatchfiles(), ZtfPublic(), ZtfFeatures(), ZtfClassifications())
}


def recipe_of(name: str) -> Recipe:
    """The recipe of a name.

    Raises
    ------
    IngestError : there is none; the names are in its text
    """
    if name not in RECIPES:
        raise IngestError(f"there is no recipe {name}: {', '.join(sorted(RECIPES))}, or catalog for any other catalogue")  # fmt: skip
    return RECIPES[name]
