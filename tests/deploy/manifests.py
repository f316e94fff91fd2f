"""Kubernetes' documents as tests need them: read, built, and asked what Kubernetes would make of them."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from kowalski.config import ROOT

FOLDER = ROOT / "kubernetes"
OVERLAYS = sorted(path.parent.name for path in FOLDER.glob("overlays/*/kustomization.yaml"))
SURVEYS = sorted(path.parent.name for path in FOLDER.glob("surveys/*/kustomization.yaml"))

Document = dict[str, Any]


def raw_files() -> list[Path]:
    """The files that hold documents of Kubernetes, not kustomize's own nor settings."""
    return sorted(path for path in FOLDER.rglob("*.yaml") if path.name not in ("kustomization.yaml", "config.yaml"))


def documents(text: str) -> list[Document]:
    """All documents of a text."""
    return [document for document in yaml.safe_load_all(text) if document]


def kustomize() -> str:
    """The command, on PATH or where Go installs; without it the test is skipped."""
    if found := shutil.which("kustomize"):
        return found
    if go := shutil.which("go"):
        gopath = subprocess.run([go, "env", "GOPATH"], capture_output=True, text=True, check=True).stdout.strip()
        if found := shutil.which("kustomize", path=f"{gopath}/bin"):
            return found
    pytest.skip("no kustomize here: go install sigs.k8s.io/kustomize/kustomize/v5@v5.6.0")


@cache
def _built(command: str, folder: Path) -> str:
    done = subprocess.run([command, "build", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr, done.stderr
    return done.stdout


def built(*folder: str) -> list[Document]:
    """What kustomize makes of a folder below kubernetes/."""
    return documents(_built(kustomize(), FOLDER.joinpath(*folder)))


class Site:
    """All documents of one site, and what Kubernetes would look up in them."""

    def __init__(self, overlay: str):
        self.documents = built("overlays", overlay)

    def of_kind(self, *kinds: str) -> list[Document]:
        """The documents of some kinds."""
        return [document for document in self.documents if document["kind"] in kinds]

    def named(self, kind: str, name: str) -> Document:
        """The one document of a kind and name."""
        (found,) = (document for document in self.of_kind(kind) if document["metadata"]["name"] == name)
        return found

    def workloads(self) -> list[Document]:
        """Whatever makes pods."""
        return self.of_kind("Deployment", "Job", "StatefulSet", "DaemonSet", "CronJob")

    def surveys(self) -> set[str]:
        """The surveys that this site has."""
        labels = (labels_of(each) for each in self.workloads())
        return {each["survey"] for each in labels if "survey" in each}

    def environment(self, workload: Document, container: Document) -> dict[str, str]:
        """A container's environment, that of its image included; what a Secret holds is ``secret``."""
        labels = labels_of(workload)
        environment = environment_of_image(container["image"])
        for source in container.get("envFrom", ()):
            environment |= self.named("ConfigMap", source["configMapRef"]["name"])["data"]
        for variable in container.get("env", ()):
            match variable.get("valueFrom", {}):
                case {"fieldRef": {"fieldPath": path}}:
                    label = path.removeprefix("metadata.labels['").removesuffix("']")
                    environment[variable["name"]] = labels[label]
                case {"secretKeyRef": _}:
                    environment[variable["name"]] = "secret"
                case _:
                    environment[variable["name"]] = variable["value"]
        return environment

    def commands(self) -> Iterator[tuple[list[str], dict[str, str]]]:
        """Every command that is run, as Kubernetes fills it in, with the environment that it runs in."""
        for workload in self.workloads():
            for container in containers_of(workload):
                environment = self.environment(workload, container)
                yield [filled(word, environment) for word in container["command"]], environment
                for probe in probes_of(container):
                    match probe.get("exec", {}).get("command"):
                        case None:
                            continue
                        case ["sh", "-c", line]:  # a shell knows the whole environment
                            yield line.replace('"$SURVEY"', environment["SURVEY"]).removeprefix("exec ").split(), environment  # fmt: skip
                        case command:  # in probes' commands Kubernetes fills in nothing of labels and ConfigMaps
                            assert not any("$" in word for word in command), command
                            yield command, environment


def environment_of_image(image: str) -> dict[str, str]:
    """What an image's own file sets in its last stage."""
    name = image.partition(":")[0].rpartition("kowalski-")[2]
    last = (ROOT / f"{name}.Dockerfile").read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    lines = [line for line in last.splitlines() if line.startswith("ENV ")]
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(lines)))


def filled(word: str, environment: dict[str, str]) -> str:
    """A word of a command, as Kubernetes fills it in: ``$(NAME)`` of the container's environment."""
    for name, value in environment.items():
        word = word.replace(f"$({name})", value)
    assert "$(" not in word, word
    return word


def pod_of(workload: Document) -> Document:
    """The specification of a workload's pods."""
    spec: Document = workload["spec"]["template"]["spec"]
    return spec


def labels_of(workload: Document) -> dict[str, str]:
    """The labels of a workload's pods."""
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def containers_of(workload: Document) -> list[Document]:
    """A workload's containers, those that prepare included."""
    return [*pod_of(workload).get("initContainers", ()), *pod_of(workload)["containers"]]


def probes_of(container: Document) -> list[Document]:
    """A container's probes."""
    return [container[name] for name in ("startupProbe", "readinessProbe", "livenessProbe") if name in container]


def selects(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a selector of labels matches a pod."""
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        each["operator"] == "In" and labels.get(each["key"]) in each["values"]
        for each in selector.get("matchExpressions", ())
    )


class Walls:
    """What the network policies of a site let through."""

    def __init__(self, site: Site):
        self.site = site
        self.policies = site.of_kind("NetworkPolicy")

    def let(self, source: Document | None, target: Document | None, port: int) -> bool:
        """Whether a TCP connection is let through; None: somebody outside of the namespace."""
        leaves = source is None or self._passes("Egress", source, target, target, port)
        enters = target is None or self._passes("Ingress", target, source, target, port)
        return leaves and enters

    def _passes(
        self, direction: str, here: Document, there: Document | None, target: Document | None, port: int
    ) -> bool:
        policies = [
            policy["spec"]
            for policy in self.policies
            if selects(policy["spec"]["podSelector"], labels_of(here)) and direction in policy["spec"]["policyTypes"]
        ]
        rules = [rule for policy in policies for rule in policy.get(direction.lower(), ())]
        peers = "to" if direction == "Egress" else "from"
        return not policies or any(
            _has_peer(rule.get(peers), there) and _has_port(rule.get("ports"), target, port) for rule in rules
        )


def _has_peer(peers: list[Document] | None, there: Document | None) -> bool:
    if peers is None:
        return True
    within = [each["podSelector"] for each in peers if "podSelector" in each and "namespaceSelector" not in each]
    return there is not None and any(selects(each, labels_of(there)) for each in within)


def _has_port(ports: list[Document] | None, target: Document | None, port: int) -> bool:
    if ports is None:
        return True
    named = {
        each["name"]: each["containerPort"]
        for container in (containers_of(target) if target else ())
        for each in container.get("ports", ())
    }
    for each in ports:
        first = named.get(each["port"], -1) if isinstance(each["port"], str) else each["port"]
        if each["protocol"] == "TCP" and first <= port <= each.get("endPort", first):
            return True
    return False
