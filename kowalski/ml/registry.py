"""The networks of a survey, loaded: the one call that the alert worker makes."""

from pathlib import Path

from kowalski.errors import ModelError
from kowalski.log import get_logger
from kowalski.ml.backends import Network, OnnxNetwork, TensorFlowNetwork, backend_of, choose_backend, tensorflow_allowed
from kowalski.ml.scorer import Scorer
from kowalski.ml.weights import STAND_INS, Model, find_models, onnx_path
from kowalski.settings import ML, Config

log = get_logger(__name__)


def load_models(config: Config, survey: str, stand_ins: Path = STAND_INS) -> Scorer:
    """A scorer of all networks that ``config.ml`` names for a survey and that can be loaded.

    The others stand in its ``problems`` and in the log; nothing is raised, alerts are stored without their scores.
    """
    models, problems = find_models(config.ml, survey, stand_ins)
    backend = choose_backend(config.ml.backend)
    networks: list[tuple[Model, Network]] = []
    for model in models:
        try:
            networks.append((model, load_network(config.ml, model, backend)))
        except ModelError as error:
            problems[model.name] = str(error)
    scorer = Scorer(networks, problems, backend_of(backend) if networks else None)
    for name, problem in scorer.problems.items():
        log.error("%s: alerts will have no score of %s: %s", survey, name, problem)
    loaded = ", ".join(f"{name} {version}" for name, version in scorer.versions.items())
    log.info("%s: networks run by %s: %s", survey, backend, loaded or "none")
    return scorer


def load_network(ml: ML, model: Model, backend: str) -> Network:
    """A network ready to predict.

    Parameters
    ----------
    backend : ``"tensorflow"``, from the weights, or ``"onnx"``, from the file that `kowalski.ml.convert` made of them

    Raises
    ------
    ModelError : it can't be loaded
    """
    if backend == "tensorflow":
        return TensorFlowNetwork(model)
    path = onnx_path(ml, model)
    if not path.exists():
        remedy = (
            "python -m kowalski.ml.convert makes it" if tensorflow_allowed() else "USE_TENSORFLOW forbids making it"
        )
        raise ModelError(f"no ONNX form of {model.path.name} at {path}: {remedy}")
    return OnnxNetwork(path)
