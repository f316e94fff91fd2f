"""A light curve as a picture: detections, forced photometry and upper limits by band, with the fit where there is one."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from kowalski.transients.photometry import ZERO_POINT, Photometry, limits_of, photometry_of

#: inches, and dots an inch
SIZE, DPI = (9.0, 5.6), 110
#: band, by its last letter where it has one of these -> colour
COLORS = {"u": "#6a3d9a", "g": "#1b8a3f", "r": "#d62728", "i": "#c98a00", "z": "#7f4f24", "y": "#222222", "j": "#984ea3", "h": "#4d4d4d"}  # fmt: skip
OTHERS = ("#1f77b4", "#17becf", "#e377c2", "#bcbd22")
#: sigma from which a flux is drawn as a point; fainter ones are limits of so many
DETECTED = 3.0
#: d before the first and after the last detection that are shown
BEFORE, AFTER = 30.0, 15.0

Curve = Sequence[Mapping[str, Any]]


def draw(title: str, curve: Curve, fit: Mapping[str, Any] | None) -> bytes:
    """A PNG of a light curve (`kowalski.alerts.curve`), and of a fit's document with a curve of its own."""
    measured, limits = photometry_of(curve), limits_of(curve)
    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    axes = figure.subplots()
    colors = _colors([*measured.band.tolist(), *limits, *_fitted_bands(fit)])
    first, last = _span(measured, limits)
    for band, color in colors.items():
        _band(axes, band, color, measured.of(measured.band == band), limits.get(band))
    for band in _fitted_bands(fit):
        mjd, magnitude = _model(fit, band)
        axes.plot(mjd, magnitude, color=colors[band], linewidth=1.4, alpha=0.8, zorder=2)
    _frame(axes, measured, limits, first, last)
    figure.suptitle(title, x=0.02, ha="left", fontsize=13, fontweight="bold")
    axes.set_title(_said(fit), loc="left", fontsize=9.5, color="#333333")
    if colors:
        _legend(axes, colors, fit)
    else:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no measurements", transform=axes.transAxes, ha="center", color="gray")
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _band(axes: Axes, band: str, color: str, measured: Photometry, limits: tuple[np.ndarray, np.ndarray] | None) -> None:  # fmt: skip
    """One band: filled circles are detections, open squares forced points, triangles upper limits (of forced points: 3 sigma)."""
    magnitude, error = measured.magnitudes()
    seen = measured.snr >= DETECTED
    for forced, marker, face in ((False, "o", color), (True, "s", "white")):
        chosen = seen & (measured.forced == forced)
        axes.errorbar(
            measured.mjd[chosen], magnitude[chosen], error[chosen], linestyle="none", marker=marker, color=color,
            markerfacecolor=face, markersize=5, elinewidth=0.9, zorder=4 if forced else 5,
        )  # fmt: skip
    faint = ~seen & measured.forced
    axes.plot(
        measured.mjd[faint],
        _depth(measured.of(faint)),
        linestyle="none",
        marker="v",
        color=color,
        alpha=0.22,
        markersize=4,
        zorder=1,
    )
    if limits is not None:
        axes.plot(*limits, linestyle="none", marker="v", color=color, alpha=0.4, markerfacecolor="none", markersize=5, zorder=1)  # fmt: skip


def _frame(axes: Axes, measured: Photometry, limits: Mapping[str, Any], first: float, last: float) -> None:
    """Axes around what was detected: magnitudes brighter upwards, days on top since the first detection."""
    magnitudes = measured.magnitudes()[0][measured.snr >= DETECTED]
    faint = measured.of((measured.snr < DETECTED) & measured.forced)
    drawn = [*limits.values(), (faint.mjd, _depth(faint))]
    deep = np.concatenate([depth[(mjd >= first) & (mjd <= last)] for mjd, depth in drawn])
    faintest = [float(np.max(magnitudes))] if len(magnitudes) else []
    faintest += [float(np.percentile(deep, 98))] if len(deep) else []
    if faintest:
        brightest = float(np.min(magnitudes)) if len(magnitudes) else min(faintest) - 1
        axes.set_ylim(max(faintest) + 0.4, brightest - 0.5)
    else:
        axes.invert_yaxis()
    if np.isfinite(first):
        axes.set_xlim(first, last)
        begin = first + BEFORE
        days: Any = (lambda mjd: mjd - begin, lambda since: since + begin)
        top = axes.secondary_xaxis("top", functions=days)
        top.set_xlabel("days since the first detection", fontsize=9)
        top.tick_params(labelsize=8.5)
    axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.xaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    axes.set_xlabel("MJD")
    axes.set_ylabel("AB magnitude of the difference")
    axes.grid(alpha=0.25, linewidth=0.6)


def _legend(axes: Axes, colors: Mapping[str, str], fit: Mapping[str, Any] | None) -> None:
    """The bands, and what the signs stand for."""
    signs = [("detection", "o", "#555555", ""), ("forced", "s", "white", ""), ("upper limit", "v", "none", "")]
    for band, color in colors.items():
        axes.plot([], [], linestyle="none", marker="o", color=color, label=band)
    for name, marker, face, _ in signs:
        axes.plot([], [], linestyle="none", marker=marker, color="#555555", markerfacecolor=face, label=name)
    if _fitted_bands(fit):
        axes.plot([], [], color="#555555", linewidth=1.4, label="SALT2")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)


def _depth(faint: Photometry) -> np.ndarray:
    """The magnitudes that forced points are fainter than."""
    return np.asarray(ZERO_POINT - 2.5 * np.log10(DETECTED * faint.error))


def _said(fit: Mapping[str, Any] | None) -> str:
    """A fit in one line, with its errors; or why there is none."""
    if fit is None:
        return ""
    if not _fitted_bands(fit):
        return f"no SALT2 fit: {fit['reason']}" if fit.get("reason") else ""
    names = fit["parameters"]
    errors = dict(zip(names, np.sqrt(np.diag(np.reshape(fit["covariance"], (len(names), -1)))), strict=True))
    shown = [f"z = {fit['z']:.3f}" + (f" ± {errors['z']:.3f}" if "z" in errors else f" ({fit['z_source']})")]
    shown += [f"{label} = {fit[name]:.2f} ± {errors[name]:.2f}" for name, label in (("t0", "t$_0$"), ("x1", "x$_1$"), ("c", "c"))]  # fmt: skip
    return ", ".join([*shown, rf"$\chi^2$/ndof = {fit['chi2']:.0f}/{fit['ndof']}"])


def _fitted_bands(fit: Mapping[str, Any] | None) -> list[str]:
    return list((fit.get("curve") or {}).get("bands", ())) if fit is not None else []


def _model(fit: Mapping[str, Any] | None, band: str) -> tuple[np.ndarray, np.ndarray]:
    """The fitted curve of a band, as a magnitude where it has light."""
    curve = (fit or {})["curve"]
    mjd, flux = np.array(curve["mjd"]), np.array(curve["bands"][band])
    bright = flux > 0
    return mjd[bright], ZERO_POINT - 2.5 * np.log10(flux[bright])


def _span(measured: Photometry, limits: Mapping[str, Any]) -> tuple[float, float]:
    """The mjds between which is shown; NaN where nothing was measured."""
    times = measured.mjd[measured.snr >= DETECTED] if len(measured) else np.array([])
    if not len(times):
        times = np.concatenate([measured.mjd, *(each[0] for each in limits.values())])
    return (float(np.min(times)) - BEFORE, float(np.max(times)) + AFTER) if len(times) else (np.nan, np.nan)


def _colors(bands: Sequence[str]) -> dict[str, str]:
    """band -> colour, in the order of wavelengths as far as that is known."""
    known = sorted(
        set(bands), key=lambda band: (list(COLORS).index(band[-1]) if band[-1] in COLORS else len(COLORS), band)
    )
    rest = iter(OTHERS * len(known))
    return {band: COLORS[band[-1]] if band[-1] in COLORS else next(rest) for band in known}
