"""The bodies of ``POST /api/queries``, one model per query type."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, TypeAdapter

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


AnyQuery = Annotated[
    Find | FindOne | CountDocuments | EstimatedDocumentCount | Aggregate | ConeSearch | Near | Info,
    Field(discriminator="query_type"),
]
QUERY: TypeAdapter[AnyQuery] = TypeAdapter(AnyQuery)
