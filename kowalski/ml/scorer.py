"""Scores of a batch of alerts by all networks of a survey; a bad alert or network never takes the others with it."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kowalski.alerts.cutouts import Stamps, readable_triplets
from kowalski.alerts.features import derived_features
from kowalski.errors import ModelError, PacketError
from kowalski.log import get_logger
from kowalski.ml.backends import Backend, Inputs, Network
from kowalski.ml.inputs import FeatureMatrix, feature_matrix
from kowalski.ml.weights import Model

log = get_logger(__name__)

Candidate = Mapping[str, Any]
History = Iterable[Mapping[str, Any]]

FAULTS = ("features", "cutout", "network")
"""Why an alert has no score: a feature is missing, a stamp can't be read, the network failed on it."""

Reason = tuple[str, str]
"""One of `FAULTS`, and what it was in words."""


class Scorer:
    """The loaded networks of one survey.

    Attributes
    ----------
    networks : each model with its network
    versions : version by the name of each loaded network
    backend : what runs them; None: there are none
    problems : what is wrong with each configured network that isn't loaded, by its name
    failures : how many alerts got no score since the start, by (network, what was at fault: `FAULTS`)
    needs_history : whether `score` has to be given histories
    """

    def __init__(
        self, networks: Sequence[tuple[Model, Network]], problems: Mapping[str, str], backend: Backend | None = None
    ):
        self.networks = tuple(networks)
        self.backend = backend
        self.versions = {model.name: model.version for model, _ in networks}
        self.problems = dict(problems)
        self.failures: Counter[tuple[str, str]] = Counter()
        self.needs_history = any(model.needs_history for model, _ in networks)

    def score(
        self, candidates: Sequence[Candidate], stamps: Sequence[Stamps], histories: Sequence[History] = ()
    ) -> list[dict[str, float | str]]:
        """``classifications`` of N alerts: ``{model: score, "model_version": version}`` of each network that could.

        Parameters
        ----------
        candidates : one per alert, with the features by their names
        stamps : science, template and difference stamp of each alert, as bytes; None for a missing one
        histories : each object's detections, as `derived_features` takes them; needed where `needs_history`
        """
        batch = _Batch(candidates, stamps, histories, self.needs_history)
        results: list[dict[str, float | str]] = [{} for _ in candidates]
        for model, network in self.networks:
            alerts, inputs, reasons = batch.inputs(model)
            scores = _predict(network, inputs, len(alerts), reasons)
            for alert, score in zip(alerts, scores, strict=True):
                if score is not None:
                    results[alert][model.name] = score
                    results[alert][f"{model.name}_version"] = model.version
            self._count(model.name, reasons, len(candidates))
        return results

    def _count(self, name: str, reasons: list[Reason], total: int) -> None:
        self.failures.update((name, fault) for fault, _ in reasons)
        for (fault, detail), number in Counter(reasons).items():
            level = logging.INFO if fault == "features" else logging.WARNING
            log.log(level, "%s: %d of %d alerts without score: %s", name, number, total, detail)


class _Batch:
    """What goes into the networks of a batch, each array made at most once."""

    def __init__(
        self, candidates: Sequence[Candidate], stamps: Sequence[Stamps], histories: Sequence[History], derive: bool
    ):
        if derive:
            pairs = zip(candidates, histories, strict=True)
            candidates = [{**candidate, **derived_features(candidate, history)} for candidate, history in pairs]
        self._candidates = candidates
        self._stamps = stamps
        self._features: dict[tuple[Any, ...], FeatureMatrix] = {}
        self._triplets: tuple[np.ndarray, dict[int, PacketError]] | None = None

    def inputs(self, model: Model) -> tuple[list[int], Inputs, list[Reason]]:
        """The places of the alerts that a network can score, their inputs, and why each of the others can't be."""
        arrays: dict[str, np.ndarray] = {}
        gaps: dict[int, Reason] = {}
        if "features" in model.inputs:
            matrix = self._matrix(model)
            arrays["features"] = matrix.values
            gaps.update({alert: ("features", f"no {', '.join(names)}") for alert, names in matrix.missing.items()})
        if "triplet" in model.inputs:
            arrays["triplet"], problems = self._images()
            gaps.update({alert: ("cutout", problem.detail) for alert, problem in problems.items()})
        alerts = [alert for alert in range(len(self._candidates)) if alert not in gaps]
        if gaps:
            arrays = {name: array[alerts] for name, array in arrays.items()}
        return alerts, arrays, list(gaps.values())

    def _matrix(self, model: Model) -> FeatureMatrix:
        key = (model.feature_names, *sorted(model.feature_norms.items()))
        if key not in self._features:
            self._features[key] = feature_matrix(self._candidates, model.feature_names, model.feature_norms)
        return self._features[key]

    def _images(self) -> tuple[np.ndarray, dict[int, PacketError]]:
        if self._triplets is None:
            self._triplets = readable_triplets(self._stamps)
        return self._triplets


def _predict(network: Network, inputs: Inputs, number: int, reasons: list[Reason]) -> list[float | None]:
    """The scores of ``number`` alerts; None, and a line more in ``reasons``, for one without."""
    if number == 0:
        return []
    try:
        scores = network.predict(inputs)
        if len(scores) != number:
            raise ModelError(f"{len(scores)} scores for {number} alerts")
    except ModelError as error:
        if number == 1:
            reasons.append(("network", str(error)))
            return [None]
        single = [{name: array[at : at + 1] for name, array in inputs.items()} for at in range(number)]
        return [score for one in single for score in _predict(network, one, 1, reasons)]
    finite = np.isfinite(scores)
    reasons.extend([("network", "the score is not a number")] * (number - int(finite.sum())))
    return [score if good else None for score, good in zip(scores.tolist(), finite, strict=True)]
