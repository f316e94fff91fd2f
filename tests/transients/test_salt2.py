"""SALT2 recovers what supernovae are, says why it does not, and asks nobody for files."""

import shutil
import socket
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from supernovae import LSST_NOISE, Supernova, salt2_settings, supernovae

from kowalski.database.fits import NO_FIT
from kowalski.errors import FitError
from kowalski.transients import files
from kowalski.transients.photometry import Photometry
from kowalski.transients.salt2 import Salt2Fitter

#: supernovae of a sample
NUMBER = 8


def pulls(salt2: Salt2Fitter, sample: list[Supernova]) -> np.ndarray:
    """(fitted - true) / error of t0, x1 and c, shape (N, 3); all of them fitted well."""
    rows = []
    for each in sample:
        found = salt2.fit(each.photometry, each.host)
        assert found["reason"] is None, found
        assert 0.4 < found["chi2"] / found["ndof"] < 2.0
        names = found["parameters"]
        covariance = np.array(found["covariance"]).reshape(len(names), len(names))
        errors = dict(zip(names, np.sqrt(np.diag(covariance)), strict=True))
        rows.append([(found[name] - each.truth[name]) / errors[name] for name in ("t0", "x1", "c")])
    return np.array(rows)


def test_parameters_are_recovered_within_their_errors(salt2: Salt2Fitter) -> None:
    """Mean and spread of pulls are those of errors that are right: with N of them, 0 and 1, to 1 / sqrt(N) and 1 / sqrt(2N)."""
    of_lsst = supernovae(salt2, NUMBER // 2, seed=12, bands=("lsstg", "lsstr", "lssti"), noise=LSST_NOISE, mwebv=0.1)
    found = pulls(salt2, [*supernovae(salt2, NUMBER // 2, seed=11), *of_lsst])
    assert np.all(np.abs(found.mean(axis=0)) < 3 / np.sqrt(NUMBER)), found.mean(axis=0)
    assert np.all(np.abs(found.std(axis=0) - 1) < 3 / np.sqrt(2 * NUMBER)), found.std(axis=0)
    assert np.abs(found).max() < 4


def test_the_redshift_is_fitted_where_no_host_tells_it(salt2: Salt2Fitter) -> None:
    (one,) = supernovae(salt2, 1, seed=5)
    found = salt2.fit(one.photometry, None)
    assert (found["reason"], found["z_source"], found["parameters"][0]) == (None, "fit", "z")
    assert found["z"] == pytest.approx(one.truth["z"], abs=4 * np.sqrt(found["covariance"][0]))
    assert len(found["covariance"]) == 25


def test_what_a_fit_says(salt2: Salt2Fitter, supernova: Supernova) -> None:
    found = salt2.fit(supernova.photometry, supernova.host)
    assert (found["model"], found["version"], found["reason"]) == ("salt2", "2.4", None)
    assert (found["z"], found["z_source"]) == (supernova.host.z, "NED_BetaV3")
    assert found["parameters"] == ["t0", "x0", "x1", "c"]
    covariance = np.array(found["covariance"]).reshape(4, 4)
    assert np.allclose(covariance, covariance.T)
    assert found["points"] == found["ndof"] + 4
    curve = found["curve"]
    assert set(curve["bands"]) == {"ztfg", "ztfr", "ztfi"}
    brightest = curve["mjd"][int(np.argmax(curve["bands"]["ztfg"]))]
    assert abs(brightest - supernova.truth["t0"]) < 5
    assert found == salt2.fit(supernova.photometry, supernova.host)  # the same again


def test_dust_of_the_galaxy_is_taken_off(salt2: Salt2Fitter) -> None:
    (one,) = supernovae(salt2, 1, seed=6, bands=("ztfg", "ztfr"), mwebv=0.3)
    right = salt2.fit(one.photometry, one.host)
    wrong = salt2.fit(one.photometry, one.host._replace(mwebv=None))
    error = np.sqrt(right["covariance"][-1])
    assert abs(right["c"] - one.truth["c"]) < 4 * error
    assert 0.2 < wrong["c"] - right["c"] < 0.9
    assert (right["mwebv"], wrong["mwebv"]) == (0.3, None)


# no fit, and why


def cut(photometry: Photometry, chosen: Any) -> Photometry:
    return photometry.of(np.asarray(chosen, bool))


def reason(salt2: Salt2Fitter, photometry: Photometry, supernova: Supernova) -> str:
    found = salt2.fit(photometry, supernova.host)
    assert {name: found[name] for name in NO_FIT} == NO_FIT
    return str(found["reason"])


def test_too_little_is_not_fitted(salt2: Salt2Fitter, supernova: Supernova) -> None:
    whole = supernova.photometry
    near = np.abs(whole.mjd - supernova.truth["t0"])
    assert "too few points: 0 of 3 sigma" in reason(salt2, cut(whole, near < 0), supernova)
    assert "too few points" in reason(salt2, cut(whole, near < 1.5), supernova)
    assert reason(salt2, cut(whole, whole.band == "ztfr"), supernova) == "too few bands: ztfr, and 2 are needed"


def test_a_short_stretch_is_not_fitted(salt2: Salt2Fitter, supernova: Supernova) -> None:
    whole = supernova.photometry
    squeezed = Photometry(supernova.truth["t0"] + (whole.mjd - whole.mjd[0]) / 100, np.full(len(whole), 300.0), whole.error, whole.band, whole.forced)  # fmt: skip
    assert reason(salt2, squeezed, supernova).startswith("too short: 0.")


def test_bands_without_a_bandpass_do_not_count(salt2: Salt2Fitter, supernova: Supernova) -> None:
    whole = supernova.photometry
    infrared = Photometry(whole.mjd, whole.flux, whole.error, np.full(len(whole), "2massj", object), whole.forced)
    assert "too few points: 0" in reason(salt2, infrared, supernova)


def test_where_the_model_has_no_light_nothing_is_fitted(salt2: Salt2Fitter, supernova: Supernova) -> None:
    far = supernova._replace(host=supernova.host._replace(z=6.0))
    assert reason(salt2, supernova.photometry, far)


def test_a_fit_at_a_bound_is_none(salt2_files: Path, supernova: Supernova) -> None:
    far = Salt2Fitter(salt2_files, salt2_settings(c_bounds=(0.5, 1.0)))
    assert reason(far, supernova.photometry, supernova) == "no best fit within the bounds: c ends at 0.5"


def test_a_minimiser_that_fails_says_so(salt2: Salt2Fitter, supernova: Supernova, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    def fails(*_: Any, **__: Any) -> NoReturn:
        raise RuntimeError("no valid minimum")

    monkeypatch.setattr("sncosmo.fit_lc", fails)
    assert reason(salt2, supernova.photometry, supernova) == "the minimiser failed: no valid minimum"


# files


def test_no_network_is_tried(salt2_files: Path, supernova: Supernova, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*arguments: Any, **_: Any) -> NoReturn:
        raise AssertionError(f"the network was tried: {arguments}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, asked)
    monkeypatch.setattr(socket, "getaddrinfo", asked)
    monkeypatch.setattr("urllib.request.urlopen", asked)
    found = Salt2Fitter(salt2_files, salt2_settings()).fit(supernova.photometry, supernova.host)
    assert found["reason"] is None


def test_absent_and_wrong_files_are_named(salt2_files: Path, tmp_path: Path) -> None:
    with pytest.raises(FitError, match=r"lacks models/salt2/salt2-4: fetch it with \./kowalski\.py models"):
        Salt2Fitter(tmp_path, salt2_settings())
    shutil.copytree(salt2_files, tmp_path, dirs_exist_ok=True)
    file = tmp_path / files.BANDPASSES["ztfr"].path
    file.chmod(0o644)
    file.write_text(file.read_text() + "\n9999 0.1\n")
    with pytest.raises(FitError, match=r"P48_R\.dat is not what it should be"):
        Salt2Fitter(tmp_path, salt2_settings())
