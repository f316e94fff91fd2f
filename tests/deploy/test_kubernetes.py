"""kubernetes/: valid for Kubernetes, buildable, and true: what a manifest names is there, in itself and in Kowalski."""

import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from manifests import (
    FOLDER,
    Document,
    Site,
    containers_of,
    documents,
    labels_of,
    pod_of,
    probes_of,
    raw_files,
    selects,
)

from kowalski.api.services.figures import BROKER
from kowalski.config import settings_tree
from kowalski.transients.programs import FITTER
from kowalski.watchers.programs import WATCHERS

#: of Kubernetes; the oldest that its own makers still mend, and the newest that the package carries
VERSIONS = ["1.34", "1.37"]
README = (FOLDER / "README.md").read_text()


def raw() -> list[tuple[str, Document]]:
    """Every document of the files, with where it stands."""
    return [(str(path.relative_to(FOLDER)), each) for path in raw_files() for each in documents(path.read_text())]


def name_of(document: Document) -> str:
    return f"{document['kind']} {document['metadata']['name']}"


# by the schemas of Kubernetes


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", raw_files(), ids=lambda path: str(path.relative_to(FOLDER)))
def test_files_are_valid(path: Path, version: str) -> None:
    found = documents(path.read_text())
    assert found
    for document in found:
        assert kubernetes_validate.validate(document, version, strict=True) == version


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_built_is_valid(site: Site, version: str) -> None:
    for document in site.documents:
        assert kubernetes_validate.validate(document, version, strict=True) == version


def test_a_name_that_kubernetes_does_not_know_is_found() -> None:
    document = dict(raw()[0][1], nonsense=1)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSIONS[0], strict=True)


def test_no_name_stands_twice(site: Site) -> None:
    names = [name_of(document) for document in site.documents]
    assert sorted(names) == sorted(set(names))


# pods: as the files have them, so that this is seen without kustomize too


WORKLOADS = [(where, each) for where, each in raw() if each["kind"] in ("Deployment", "Job")]


def test_there_are_workloads() -> None:
    names = {labels_of(each)["app.kubernetes.io/name"] for _, each in WORKLOADS}
    own = {"api", "poster", "prepare", "dask-scheduler", "dask-worker", "alert-broker", FITTER}
    assert names == {*own, *WATCHERS.values()}


def test_every_watcher_has_a_workload_that_runs_it() -> None:
    own = {each["metadata"]["name"]: each for where, each in WORKLOADS if where.startswith("components/watchers")}
    assert own.keys() == set(WATCHERS.values())
    for module, name in WATCHERS.items():
        (container,) = containers_of(own[name])
        assert container["command"] == ["python", "-m", f"kowalski.watchers.{module}"]
        assert all(probe["exec"]["command"][-1] == name for probe in probes_of(container))
        settings = {each["name"].lower() for each in container["env"] if each["name"].startswith("KOWALSKI__")}
        assert settings <= {"__".join(("kowalski", *path)) for path in paths_of(settings_tree([], environment={}))}


def test_the_fitter_has_a_workload_that_runs_it() -> None:
    (own,) = (each for where, each in WORKLOADS if where.startswith("components/transients"))
    (container,) = pod_of(own)["containers"]
    assert container["command"] == ["python", "-m", "kowalski.transients"]
    assert all(probe["exec"]["command"][-1] == FITTER for probe in probes_of(container))
    known = {"__".join(("kowalski", *path)) for path in paths_of(settings_tree([], environment={}))}
    for each in containers_of(own):
        assert {one["name"].lower() for one in each["env"] if one["name"].startswith("KOWALSKI__")} <= known


@pytest.mark.parametrize("workload", [each for _, each in WORKLOADS], ids=name_of)
def test_pods_are_bounded_and_restricted(workload: Document) -> None:
    pod = pod_of(workload)
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "kowalski"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers_of(workload):
        for bound in ("requests", "limits"):
            assert set(container["resources"][bound]) == {"cpu", "memory"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("workload", [each for _, each in WORKLOADS if each["kind"] == "Deployment"], ids=name_of)
def test_programs_are_asked_whether_they_live(workload: Document) -> None:
    for container in pod_of(workload)["containers"]:
        assert {"startupProbe", "livenessProbe"} <= set(container)
        ports = {port["name"] for port in container.get("ports", ())}
        for probe in probes_of(container):
            way = probe.get("httpGet") or probe.get("tcpSocket")
            assert way["port"] in ports if way else probe["timeoutSeconds"] >= 10  # Python itself takes a second
        assert ("readinessProbe" in container) == bool(ports)


@pytest.mark.parametrize(("where", "workload"), WORKLOADS, ids=lambda each: str(each) if isinstance(each, str) else "")
def test_images_are_kowalskis(where: str, workload: Document) -> None:
    images = {container["image"] for container in containers_of(workload)}
    assert images <= {"skyportal/kowalski-api", "skyportal/kowalski-ingester"}, where


def test_every_image_has_a_tag(site: Site) -> None:
    images = {container["image"] for workload in site.workloads() for container in containers_of(workload)}
    assert images
    assert [image for image in images if not re.fullmatch(r"skyportal/kowalski-\w+:\d+\.\d+\.\d+", image)] == []


def paths_of(tree: Document, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every setting of a tree, in small letters, as the names of environment variables have them."""
    return [
        path
        for name, value in tree.items()
        for path in (
            paths_of(value, (*above, name.lower())) if isinstance(value, dict) and value else [(*above, name.lower())]
        )
    ]


# names that lead somewhere


def test_volumes_are_there(site: Site) -> None:
    for workload in site.workloads():
        volumes = {volume["name"]: volume for volume in pod_of(workload)["volumes"]}
        mounts = [mount for each in containers_of(workload) for mount in each["volumeMounts"]]
        assert {mount["name"] for mount in mounts} == set(volumes), name_of(workload)
        for volume in volumes.values():
            match volume:
                case {"configMap": {"name": name}}:
                    site.named("ConfigMap", name)
                case {"persistentVolumeClaim": {"claimName": name}}:
                    site.named("PersistentVolumeClaim", name)
                case {"secret": {"secretName": name}}:
                    assert f"create secret generic {name} " in README
                case _:
                    assert volume["emptyDir"]["sizeLimit"]


def test_secrets_are_those_of_the_example() -> None:
    example = (FOLDER / "secrets.example.env").read_text()
    names = re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE)
    assert [value for _, value in names if value] == []
    used = [
        variable["valueFrom"]["secretKeyRef"]
        for path in FOLDER.rglob("*.yaml")
        for variable in variables(list(yaml.safe_load_all(path.read_text())))
        if "secretKeyRef" in variable.get("valueFrom", {})
    ]
    assert {each["name"] for each in used} == {"kowalski"}
    assert {each["key"] for each in used} == {name for name, _ in names}
    assert "create secret generic kowalski " in README


def variables(node: object) -> list[Document]:
    """All entries of ``env`` anywhere below, those within the text of a patch too."""
    match node:
        case str() if "env:" in node:
            return variables(list(yaml.safe_load_all(node)))
        case dict():
            return [*node.get("env", ()), *(found for value in node.values() for found in variables(value))]
        case list():
            return [found for each in node for found in variables(each)]
    return []


def test_selectors_select(site: Site) -> None:
    pods = [labels_of(workload) for workload in site.workloads()]
    for workload in site.of_kind("Deployment"):
        assert [pod for pod in pods if selects(workload["spec"]["selector"], pod)] == [labels_of(workload)]
    for budget in site.of_kind("PodDisruptionBudget"):
        assert len([pod for pod in pods if selects(budget["spec"]["selector"], pod)]) == 1, name_of(budget)
    for policy in site.of_kind("NetworkPolicy"):
        peers = [peer for rule in policy["spec"].get("ingress", ()) for peer in rule.get("from", ())]
        peers += [peer for rule in policy["spec"].get("egress", ()) for peer in rule.get("to", ())]
        selectors = [policy["spec"]["podSelector"], *(peer["podSelector"] for peer in peers if "podSelector" in peer)]
        assert all(any(selects(each, pod) for pod in pods) for each in selectors), name_of(policy)


def test_every_deployment_has_a_budget_that_lets_nodes_be_emptied(site: Site) -> None:
    budgets = site.of_kind("PodDisruptionBudget")
    assert all(budget["spec"]["maxUnavailable"] >= 1 for budget in budgets)
    names = sorted(budget["metadata"]["name"] for budget in budgets)
    assert names == sorted(each["metadata"]["name"] for each in site.of_kind("Deployment"))


def test_services_lead_to_a_port(site: Site) -> None:
    assert site.of_kind("Service")
    for service in site.of_kind("Service"):
        (workload,) = (
            each for each in site.workloads() if selects({"matchLabels": service["spec"]["selector"]}, labels_of(each))
        )
        ports = {port["name"] for container in containers_of(workload) for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


# numbers of pods


def test_autoscalers_have_a_target_of_their_own(site: Site) -> None:
    scalers = site.of_kind("HorizontalPodAutoscaler")
    assert len(scalers) == 1 + 2 * len(site.surveys())
    targets = [scaler["spec"]["scaleTargetRef"] for scaler in scalers]
    assert len({target["name"] for target in targets}) == len(targets)
    for target in targets:
        workload = site.named(target["kind"], target["name"])
        assert workload["apiVersion"] == target["apiVersion"]
        assert "replicas" not in workload["spec"]  # else applying the file anew undoes what the autoscaler did


def test_brokers_scale_by_a_figure_that_the_api_tells(site: Site) -> None:
    seen = set()
    for scaler in site.of_kind("HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            if metric["type"] == "External":
                named = metric["external"]["metric"]
                assert named["name"].removeprefix("kowalski_broker_") in BROKER
                assert named["name"] in README
                workload = site.named("Deployment", scaler["spec"]["scaleTargetRef"]["name"])
                assert named["selector"]["matchLabels"] == {"survey": labels_of(workload)["survey"]}
                seen.add(labels_of(workload)["survey"])
    assert seen == site.surveys()
