"""kubernetes/: what Kowalski itself says of the sites: settings, programs, surveys, and who must reach whom."""

import importlib.util
import subprocess
import sys
from functools import cache
from pathlib import Path

import yaml
from manifests import (
    FOLDER,
    SURVEYS,
    Document,
    Site,
    Walls,
    built,
    containers_of,
    documents,
    labels_of,
    pod_of,
    selects,
)

from kowalski.alerts.survey import get_survey, known_surveys, module_of
from kowalski.config import ROOT, build, merge, override, settings_tree
from kowalski.documentation.commands import command_line
from kowalski.settings import Config

README = (FOLDER / "README.md").read_text()


def settings_of(site: Site, workload: Document, number: int = -1) -> Config:
    """What one of a workload's programs reads: defaults, the site's config.yaml, its environment."""
    environment = site.environment(workload, containers_of(workload)[number])
    file = Path(environment["KOWALSKI_CONFIG"])
    (volume,) = (volume_at(workload, number, str(file.parent)),)
    tree = settings_tree([], environment={})
    merge(tree, yaml.safe_load(site.named("ConfigMap", volume["configMap"]["name"])["data"][file.name])["kowalski"])
    override(tree, environment)
    return build(tree)


def volume_at(workload: Document, number: int, path: str) -> Document:
    """The volume that one of a workload's programs has at a path."""
    (mount,) = (each for each in containers_of(workload)[number]["volumeMounts"] if each["mountPath"] == path)
    (volume,) = (each for each in pod_of(workload)["volumes"] if each["name"] == mount["name"])
    return volume | {"readOnly": mount.get("readOnly", False)}


# settings


def test_all_settings_are_accepted(site: Site) -> None:
    assert site.workloads()
    for workload in site.workloads():
        for number in range(len(containers_of(workload))):
            settings_of(site, workload, number)


def test_the_api_listens_where_its_service_leads(site: Site) -> None:
    workload = site.named("Deployment", "api")
    server = settings_of(site, workload).server
    (port,) = containers_of(workload)[0]["ports"]
    assert (server.host, server.port) == ("0.0.0.0", port["containerPort"])


def test_brokers_and_workers_find_their_scheduler(site: Site) -> None:
    """By the Service's name; all three with the files of mutual TLS."""
    for survey in site.surveys():
        (scheduler, *others) = (
            site.named("Deployment", f"{name}-{survey.lower()}")
            for name in ("dask-scheduler", "dask-worker", "alert-broker")
        )
        for workload in (scheduler, *others):
            dask = settings_of(site, workload).dask_for(survey)
            service = site.named("Service", dask.host)
            assert [port["port"] for port in service["spec"]["ports"]] == [dask.scheduler_port]
            assert selects({"matchLabels": service["spec"]["selector"]}, labels_of(scheduler))
            assert (dask.tls.ca, dask.tls.cert, dask.tls.key) != (None, None, None)
            for file in map(Path, (dask.tls.ca, dask.tls.cert, dask.tls.key)):
                secret = volume_at(workload, -1, str(file.parent))
                assert secret["readOnly"]
                assert f"generic {secret['secret']['secretName']} " in README
                assert f"/{file.name}" in README
        listening = settings_of(site, scheduler).dask_for(survey)
        (port,) = (each for each in containers_of(scheduler)[0]["ports"] if each["name"] == "dask")
        assert (listening.listen, listening.scheduler_port) == ("0.0.0.0", port["containerPort"])


def test_weights_are_where_workers_look(site: Site) -> None:
    for survey in site.surveys():
        workload = site.named("Deployment", f"dask-worker-{survey.lower()}")
        places = []
        for number, _ in enumerate(containers_of(workload)):
            folder = f"/kowalski/{settings_of(site, workload, number).ml.folder}"
            places.append(volume_at(workload, number, folder))
        assert len(places) == 2
        assert places[0] == places[1]
        assert not places[0]["readOnly"]


def test_schemas_that_a_registry_gives_can_be_kept(site: Site) -> None:
    for survey in site.surveys():
        workload = site.named("Deployment", f"dask-worker-{survey.lower()}")
        source = settings_of(site, workload).schemas.get(survey)
        assert (source is None) == (get_survey(survey).schemas is None)
        if source:
            assert not volume_at(workload, -1, f"/kowalski/{source.folder}")["readOnly"]


def test_brokers_can_keep_all_workers_busy(site: Site) -> None:
    for survey in site.surveys():
        key = survey.lower()
        most = site.named("HorizontalPodAutoscaler", f"dask-worker-{key}")["spec"]["maxReplicas"]
        broker = settings_of(site, site.named("Deployment", f"alert-broker-{key}"))
        worker = settings_of(site, site.named("Deployment", f"dask-worker-{key}"))
        under_way = broker.dask_for(survey).n_workers * broker.broker.batches_per_worker
        assert under_way >= most * worker.dask_for(survey).n_workers


# programs


def test_programs_are_there_and_take_what_they_are_given(site: Site) -> None:
    seen = set()
    for command, _ in site.commands():
        assert command[0] == "python"
        if command[1] == "kowalski.py":
            assert command[2] in command_line().COMMANDS
            continue
        module, arguments = command[2], command[3:]
        assert importlib.util.find_spec(module) is not None, module
        seen.add(module)
        if arguments:
            said = asked("-m", module)
            assert [word for word in arguments if word not in said and word not in site.surveys()] == []
    brokers = {module_of(survey) for survey in site.surveys()}
    others = {"api", "outbox", "dask_cluster", "local.alive", "local.prepare"}
    assert seen == brokers | {f"kowalski.{name}" for name in others}


@cache
def asked(*program: str) -> str:
    """What a program says of its arguments."""
    done = subprocess.run(
        [sys.executable, *program, "--help"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_names_of_surveys_are_filled_in(site: Site) -> None:
    for command, environment in site.commands():
        if command[2] == "kowalski.dask_cluster":
            assert command[3] == environment["SURVEY"]
            assert f"KOWALSKI__{section(command[3])}__HOST" in environment


def section(survey: str) -> str:
    """The settings of a survey's dask cluster."""
    return "DASK" if survey == "ZTF" else f"DASK_{survey}"


# surveys


def test_every_survey_has_a_folder_and_no_other() -> None:
    """One that somebody just drafted may do without: it runs elsewhere at first."""
    assert (
        {"ztf", "pgir", "wntr", "turbo", "lsst"} <= set(SURVEYS) <= {survey.name.lower() for survey in known_surveys()}
    )


def test_folders_of_surveys_hold_one_small_file() -> None:
    for name in SURVEYS:
        (file,) = (FOLDER / "surveys" / name).iterdir()
        assert file.name == "kustomization.yaml"
        own = yaml.safe_load(file.read_text())
        assert (own["nameSuffix"], own["labels"][0]["pairs"]) == (f"-{name}", {"survey": name.upper()})
        assert f"MODULE={module_of(name)}" in own["configMapGenerator"][0]["literals"]


def test_every_survey_can_be_built() -> None:
    kinds = [sorted(document["kind"] for document in built("surveys", name)) for name in SURVEYS]
    assert all(each == kinds[0] for each in kinds)
    assert kinds[0].count("Deployment") == 3


def test_production_has_all_surveys() -> None:
    assert Site("production").surveys() == {name.upper() for name in SURVEYS}


# the network


def test_who_may_reach_whom(site: Site) -> None:
    walls = Walls(site)
    api, poster, prepare = (
        *(site.named("Deployment", name) for name in ("api", "poster")),
        site.named("Job", "prepare"),
    )
    for survey in site.surveys():
        scheduler, worker, broker = (
            site.named("Deployment", f"{name}-{survey.lower()}")
            for name in ("dask-scheduler", "dask-worker", "alert-broker")
        )
        for source, target, port in (
            (broker, scheduler, 8786),
            (worker, scheduler, 8786),
            (scheduler, worker, 40000),
            (worker, worker, 40000),
            (broker, None, 27017),
            (broker, None, 9092),
            (worker, None, 27017),
            (worker, None, 443),
        ):
            assert walls.let(source, target, port), (survey, source["metadata"]["name"], port)
        others = [each for each in site.workloads() if labels_of(each).get("survey") not in (None, survey)]
        for source in (api, poster, prepare, None, *others):
            assert not walls.let(source, scheduler, 8786)
            assert not walls.let(source, worker, 40000)
        assert not walls.let(scheduler, None, 27017)
        assert not walls.let(broker, None, 443)
    for source, port in ((api, 27017), (prepare, 27017), (poster, 27017), (poster, 443), (poster, 9092), (api, 443)):
        assert walls.let(source, None, port)
    assert walls.let(None, api, 4000)
    assert not walls.let(None, api, 8787)
    assert not walls.let(None, poster, 4000)
    assert not walls.let(api, None, 9092)


def test_prometheus_reads_the_metrics_of_every_program_where_it_is_let_in() -> None:
    site = Site("production")
    assert {policy["metadata"]["name"] for policy in site.of_kind("NetworkPolicy")} >= {"metrics", "api"}
    policy = site.named("NetworkPolicy", "metrics")["spec"]
    (rule,) = policy["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    for workload in site.of_kind("Deployment"):
        if workload["metadata"]["name"] == "api":
            continue
        settings = settings_of(site, workload).metrics
        (port,) = (each for each in containers_of(workload)[-1]["ports"] if each["name"] == rule["ports"][0]["port"])
        annotations = workload["spec"]["template"]["metadata"]["annotations"]
        assert settings.enabled
        assert (settings.host, settings.targets) == ("0.0.0.0", None)
        assert str(settings.port) == str(port["containerPort"]) == annotations["prometheus.io/port"]
        assert selects(policy["podSelector"], labels_of(workload))


def test_names_can_be_looked_up() -> None:
    policies = documents((FOLDER / "base" / "network.yaml").read_text())
    (policy,) = (each for each in policies if each["metadata"]["name"] == "dns")
    assert policy["spec"]["podSelector"] == {}
    assert {(each["protocol"], each["port"]) for each in policy["spec"]["egress"][0]["ports"]} == {
        ("UDP", 53),
        ("TCP", 53),
    }
