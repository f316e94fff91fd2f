"""The types of all settings; their defaults and meaning stand in config.defaults.yaml."""

from types import NoneType
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, IPvAnyNetwork, model_validator

from kowalski.archive_section import Archive
from kowalski.errors import ConfigError
from kowalski.gcn_section import GcnStream
from kowalski.metrics_section import MetricsSection, PerformanceReport, Telemetry
from kowalski.night_section import NightSection
from kowalski.output_section import KafkaOutput
from kowalski.section import Names, Port, Section, Servers
from kowalski.tables_section import Tables
from kowalski.transients_section import Transients


class Contact(Section):
    name: str
    email: str


class Server(Section):
    name: str
    version: str
    description: str
    host: str
    port: Port
    processes: int = Field(ge=1)
    max_requests: int
    timeout: int
    admin_username: str
    admin_password: str | None
    password_rounds: int = Field(ge=4, le=18)
    jwt_secret_key: str | None = Field(alias="JWT_SECRET_KEY")
    jwt_algorithm: Literal["HS256", "HS384", "HS512"] = Field(alias="JWT_ALGORITHM")
    jwt_exp_delta_seconds: Annotated[int, Field(ge=1)] | None = Field(alias="JWT_EXP_DELTA_SECONDS")
    client_max_size: int
    max_answer_size: int = Field(ge=1 << 20)
    queries_per_user: int = Field(ge=1, le=200)
    query_patience: float = Field(ge=0)
    public_data: dict[str, bool | tuple[int, ...]]
    trusted_proxies: tuple[IPvAnyNetwork, ...]
    contact: Contact

    @model_validator(mode="after")
    def _hashed_well(self) -> Self:
        if self.password_rounds < 10 and self.host not in LOOPBACK:
            raise ValueError(
                f"password_rounds: {self.password_rounds} is for an API on loopback only; 10 at least, where others reach it"
            )
        return self


class TelescopeQueue(Section):
    url: Annotated[str, Field(pattern=r"^https?://[^/]+")] | None
    mountain_ip: str | None
    mountain_port: int | None
    mountain_username: str | None
    mountain_password: str | None
    mountain_bind_ip: str | None
    mountain_bind_port: int | None
    mountain_known_hosts: str | None


class Kafka(Section):
    group: str
    bootstrap_servers: Servers = Field(alias="bootstrap.servers")
    bootstrap_test_servers: Servers = Field(alias="bootstrap.test.servers")
    auto_offset_reset: Literal["earliest", "latest"] = Field(alias="auto.offset.reset")
    nights: int = Field(ge=0)
    metadata_refresh: float = Field(gt=0)
    processes_per_topic: dict[str, int]
    topics: dict[str, str]
    output: KafkaOutput
    surveys: dict[str, dict[str, Any]]


class SchemaSource(Section):
    """Where the schemas come from that messages name by number."""

    registry: str | None
    folder: str


class Broker(Section):
    batch_size: int = Field(ge=1)
    batch_bytes: int = Field(ge=1)
    batches_per_worker: int = Field(ge=1)
    commit_interval: float = Field(gt=0)
    retry_delay: float = Field(gt=0)
    rematch_interval: float = Field(gt=0)
    inline_quarantine_bytes: int = Field(ge=0, le=15_000_000)
    quarantine_bytes: int = Field(ge=0)


class Recipe(Section):
    """How one catalogue is matched."""

    cone_search_radius: float = Field(gt=0)
    cone_search_unit: Literal["arcsec", "arcmin", "deg", "rad"]
    filter: dict[str, Any] = {}
    projection: dict[str, Any] = {}
    use_distance: bool = False
    latest_by: str | None = None
    distance_value: str | None = None
    distance_method: str | None = None
    cm_at_distance: float | None = None
    cm_low_distance: float | None = None


class Database(Section):
    host: str
    port: Port
    replica_set: str | None
    srv: bool
    tls: bool
    tls_ca_file: str | None
    tls_certificate_key_file: str | None
    db: str
    auth_source: str | None
    max_pool_size: int
    max_wired_tiger_cache: int | float | str | None
    admin_username: str
    admin_password: str | None
    username: str
    password: str | None
    reader_username: str
    reader_password: str | None
    build_indexes: bool
    xmatch: dict[str, dict[str, Recipe]]

    @property
    def encrypted(self) -> bool:
        """Whether connections are encrypted."""
        return self.tls or self.srv

    @model_validator(mode="after")
    def _files_are_used(self) -> "Database":
        if (self.tls_ca_file or self.tls_certificate_key_file) and not self.encrypted:
            raise ValueError("tls_ca_file and tls_certificate_key_file are named, but tls is false")
        return self


class ModelSettings(Section):
    """One neural network: where its weights are and what it is fed."""

    version: str = Field(min_length=1)
    triplet: bool = True
    feature_names: Names | Literal[True] = ()
    feature_norms: dict[str, float] | None = None
    order: tuple[Literal["features", "triplet"], ...] = ("features", "triplet")
    format: Literal["h5", "pb"] = "h5"
    url: str | None = None
    sha256: str | None = None


class SurveyModels(Section):
    allowed_features: Names = ()
    models: dict[str, ModelSettings] = {}


class ML(Section):
    backend: Literal["auto", "onnx", "tensorflow"]
    folder: str
    allow_stand_ins: bool
    surveys: dict[str, SurveyModels]


class Links(Section):
    radius: float = Field(gt=0, le=60)


class Filters(Section):
    max_time_ms: int = Field(ge=1)
    activation_guard: Literal["warn", "refuse"]
    activation_share: float = Field(gt=0, le=1)


class SkyPortal(Section):
    protocol: Literal["http", "https"]
    host: str
    port: Port
    ca_file: str | None
    token: str | None
    timeout: float
    photometry_timeout: float
    followup_timeout: float
    requests_per_second: float
    burst: int
    bands: dict[str, dict[int, str | None]]

    @property
    def url(self) -> str:
        """Address that paths are appended to."""
        return f"{self.protocol}://{self.host}:{self.port}"


class Outbox(Section):
    threads: int = Field(ge=1)
    poll_interval: float = Field(gt=0)
    lease: float = Field(gt=0)
    max_backoff: float = Field(gt=0)
    refresh_interval: float = Field(gt=0)


class Login(Section):
    username: str | None
    password: str | None


class ZTFOps(Login):
    url: str
    interval: float = Field(gt=0)


class TNS(Section):
    url: str
    bot_id: str | int | None
    bot_name: str | None
    api_key: str | None
    interval: float = Field(gt=0)


class DaskTLS(Section):
    """Files of the certificates by which scheduler, workers and brokers know each other; all three or none."""

    ca: str | None
    cert: str | None
    key: str | None

    @property
    def files(self) -> tuple[str | None, str | None, str | None]:
        """The three, as the settings have them."""
        return self.ca, self.cert, self.key


class Dask(Section):
    host: str
    listen: str | None
    scheduler_port: Port
    dashboard_address: str
    n_workers: int = Field(ge=1)
    threads_per_worker: int = Field(ge=1)
    memory_limit: str | None = Field(pattern=r"^\d+(\.\d+)? ?[kMGT]i?B$")
    lifetime: str | None
    lifetime_stagger: str
    lifetime_restart: bool
    tls: DaskTLS

    @property
    def encrypted(self) -> bool:
        """Whether its processes talk TLS."""
        return any(self.tls.files)

    @property
    def address(self) -> str:
        """Where brokers and workers reach the scheduler."""
        return f"{'tls' if self.encrypted else 'tcp'}://{self.host}:{self.scheduler_port}"

    @property
    def loopback_only(self) -> bool:
        """Whether only this machine can reach the scheduler."""
        return self.host in LOOPBACK and (self.listen or self.host) in LOOPBACK


class Misc(Section):
    broker: bool
    supported_penquins_versions: tuple[str, ...]
    max_time_ms: int = Field(ge=1)


class SkymapSources(Section):
    hosts: tuple[str, ...]


class Slack(Section):
    slack_bot_token: str | None
    slack_channel_id: str | None


class Local(Section):
    folder: str
    logs: str
    kafka_version: str
    kafka_heap: str
    kafka_retention_bytes: int
    mongod_cache_gb: float
    min_free_gb: float


class Config(Section):
    """All settings of Kowalski."""

    server: Server
    ztf: TelescopeQueue
    kafka: Kafka
    schemas: dict[str, SchemaSource]
    broker: Broker
    archive: Archive
    database: Database
    ml: ML
    links: Links
    filters: Filters
    skyportal: SkyPortal
    outbox: Outbox
    transients: Transients
    ztf_depot: Login
    ztf_ops: ZTFOps
    tns: TNS
    dask: dict[str, Dask]
    misc: Misc
    skymaps: SkymapSources
    performance_report: PerformanceReport
    gcn: GcnStream
    night: NightSection
    tables: Tables
    metrics: MetricsSection
    telemetry: Telemetry
    slack: Slack
    enabled: dict[str, bool]
    local: Local

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> "Config":
        """The settings of a merged tree, whose sections per survey (``ml.ZTF``, ``kafka.ZTF``, ``dask_pgir``) are gathered."""
        tree = dict(tree)
        clusters = {name: tree.pop(name) for name in list(tree) if name == "dask" or name.startswith("dask_")}
        tree["dask"] = {
            name.removeprefix("dask").removeprefix("_") or "ztf": section for name, section in clusters.items()
        }
        for section, model in (("ml", ML), ("kafka", Kafka)):
            if isinstance(tree.get(section), dict):
                tree[section] = _gather_surveys(tree[section], model)
        return cls.model_validate(tree)

    @classmethod
    def names_at(cls, path: tuple[Any, ...]) -> list[str]:
        """The names of the settings that may stand at a path."""
        model = cls._type_at(path)
        return sorted(_fields(model)) if _is_section(model) else []

    @classmethod
    def takes_text(cls, path: tuple[Any, ...]) -> bool:
        """Whether the setting at a path is text, or text or null."""
        model = cls._type_at(path)
        return model is str or set(get_args(model)) == {str, NoneType}

    @classmethod
    def _type_at(cls, path: tuple[Any, ...]) -> Any:
        """The type of what stands at a path, whether sections per survey are gathered there or not; None: nothing may."""
        model: Any = cls
        for part in path:
            if not _is_section(model):
                model = (get_args(model) or (None,))[-1]
            elif part in (fields := _fields(model)):
                model = fields[part]
            elif str(part).startswith("dask_"):
                model = Dask
            else:
                model = (get_args(fields.get("surveys")) or (None,))[-1]
        return model

    def dask_for(self, survey: str) -> Dask:
        """The dask cluster of a survey."""
        return self.dask[survey.lower()]

    @property
    def loopback_only(self) -> bool:
        """Whether nothing that this configuration starts can be reached from another machine."""
        return self.server.host in LOOPBACK and all(cluster.loopback_only for cluster in self.dask.values())


LOOPBACK = ("127.0.0.1", "localhost", "::1")


def dask_section(survey: str) -> str:
    """The section of a survey's dask cluster, as files name it."""
    return "dask" if survey.upper() == "ZTF" else f"dask_{survey.lower()}"


def _is_section(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, Section)


def _fields(model: type[Section]) -> dict[str, Any]:
    """The types of a section's settings, by their names in files."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _gather_surveys(section: dict[str, Any], model: type[Section]) -> dict[str, Any]:
    """A section whose upper-case keys are surveys, with those under ``surveys``."""
    surveys = {key: value for key, value in section.items() if key not in _fields(model) and str(key).isupper()}
    rest = {key: value for key, value in section.items() if key not in surveys}
    listed = rest.get("surveys") or {}
    return {**rest, "surveys": {**listed, **surveys} if isinstance(listed, dict) else listed}


def required(value: str | None, path: str) -> str:
    """A setting without which the API can't start; raises `ConfigError`."""
    if not value:
        raise ConfigError(f"{path} is not set: ./kowalski.py up makes one, or set it in config.yaml")
    return value
