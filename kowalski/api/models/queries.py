"""The bodies of ``POST /api/queries``, one model per query type."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, NonNegativeInt, TypeAdapter, model_validator

from kowalski.api.models.fields import (
    UNITS,
    Body,
    Distance,
    Filter,
    Milliseconds,
    Name,
    Order,
    Pipeline,
    Projection,
    Unit,
)
from kowalski.api.models.positions import Positions
from kowalski.api.models.skymaps import Aliases, Date, TriggerId, event_condition


class Options(Body):
    """``kwargs``: how a query is read; unknown ones (``save``, ``_id``, ``batchSize``, ``filter_first``, ...) do nothing."""

    skip: NonNegativeInt | None = None
    limit: NonNegativeInt | None = None
    sort: Order | None = None
    hint: str | Order | None = None
    max_time_ms: Milliseconds = None
    comment: str | None = None
    allow_disk_use: bool = Field(True, alias="allowDiskUse")


def _none_is_empty(value: Any) -> Any:
    return {} if value is None else value


class Query(Body):
    """What all query types share; ``done`` is said of one that went well."""

    done: ClassVar[str] = "Successfully executed query"

    kwargs: Annotated[Options, BeforeValidator(_none_is_empty)] = Field(
        default_factory=lambda: Options.model_validate({})
    )


class Part(Body):
    """Which documents of a collection, and which of their fields; nothing named means all."""

    filter: Filter = {}
    projection: Projection = {}


class Selection(Part):
    catalog: Name


class Collection(Body):
    catalog: Name


class Stages(Body):
    catalog: Name
    pipeline: Pipeline
    projection: Projection = {}


class Cone(Body):
    """Circles on the sky."""

    cone_search_radius: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    cone_search_unit: Unit
    radec: Positions

    @property
    def radius(self) -> float:
        """Their radius in rad."""
        return self.cone_search_radius * UNITS[self.cone_search_unit]


Catalogs = Annotated[dict[Name, Annotated[Part, BeforeValidator(_none_is_empty)]], Field(min_length=1)]


class Cones(Body):
    object_coordinates: Cone
    catalogs: Catalogs


class Rings(Body):
    """Rings on the sky; their radii are in ``distance_units``, the outer one 1 arcmin unless given."""

    radec: Positions
    min_distance: Distance = 0.0
    max_distance: Distance | None = None
    distance_units: Unit = "rad"
    catalogs: Catalogs

    @property
    def ring(self) -> tuple[float, float]:
        """Inner and outer radius in rad."""
        unit = UNITS[self.distance_units]
        outer = UNITS["arcmin"] if self.max_distance is None else self.max_distance * unit
        return self.min_distance * unit, outer


class Question(Body):
    command: Literal["catalog_names", "catalog_info", "index_info", "db_info"]
    catalog: Name | None = None


FieldName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$", max_length=200)]


class WhichSkymap(Body):
    """A part of a stored sky map: within a contour, or, cell by cell, within a credible level on the sky or in space."""

    localization_name: str | None = None
    dateobs: Date | None = None
    trigger_id: TriggerId | None = Field(None, validation_alias=AliasChoices("trigger_id", "triggerid"))
    aliases: Aliases = []
    contour: Annotated[float, Field(gt=0, lt=100)] = 90
    credible_level: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None, description="percent of the probability on the sky, exact, in place of contour"
    )
    credible_volume: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None, description="percent of the probability in space; needs distance"
    )
    distance: Annotated[float, Field(gt=0, allow_inf_nan=False)] | FieldName | None = Field(
        None, description="Mpc: a number, or the field of a row that holds it"
    )
    sort: Literal["probability"] | None = Field(None, description="the most probable first, in place of kwargs.sort")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.localization_name:
            raise ValueError("ValueError: name must be specified")
        if self.dateobs is None and self.trigger_id is None and not self.aliases:
            raise ValueError("ValueError: At least one of dateobs, trigger_id, skymap_name, aliases must be specified")
        if self.credible_volume is not None and self.distance is None:
            raise ValueError("credible_volume: distance is missing, Mpc or the name of a field that holds it")
        if (self.sort or self.distance) and not self.is_exact:
            raise ValueError("sort and distance: credible_level or credible_volume is expected, too")
        return self

    @property
    def is_exact(self) -> bool:
        """Whether rows are looked for cell by cell, and not within a contour."""
        return self.credible_level is not None or self.credible_volume is not None

    @property
    def event(self) -> dict[str, Any]:
        """The condition on stored maps."""
        return event_condition(self.dateobs, self.trigger_id, self.aliases)


class WithinSkymap(Selection):
    skymap: WhichSkymap


class ToDrop(Collection):
    """A catalogue to be dropped; ``confirm`` is its name once more."""

    confirm: str | None = None


class Find(Query):
    query_type: Literal["find"]
    query: Selection


class FindOne(Query):
    query_type: Literal["find_one"]
    query: Selection


class CountDocuments(Query):
    query_type: Literal["count_documents"]
    query: Selection


class EstimatedDocumentCount(Query):
    query_type: Literal["estimated_document_count"]
    query: Collection


class Aggregate(Query):
    query_type: Literal["aggregate"]
    query: Stages


class ConeSearch(Query):
    query_type: Literal["cone_search"]
    query: Cones


class Near(Query):
    query_type: Literal["near"]
    query: Rings


class Info(Query):
    query_type: Literal["info"]
    query: Question


class Skymap(Query):
    query_type: Literal["skymap"]
    query: WithinSkymap


class Drop(Query):
    done: ClassVar[str] = "Successfully dropped collection"
    query_type: Literal["drop"]
    query: ToDrop


AnyQuery = Annotated[
    Find | FindOne | CountDocuments | EstimatedDocumentCount | Aggregate | ConeSearch | Near | Info | Skymap | Drop,
    Field(discriminator="query_type"),
]
QUERY: TypeAdapter[AnyQuery] = TypeAdapter(AnyQuery)
