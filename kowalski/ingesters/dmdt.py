"""Histograms of a light curve's pairs: by how much, after how long (Mahabal et al. 2017, arXiv:1709.06257)."""

import numpy as np

#: of the edges of the bins
VERSION = "v20200318"
#: mag
DM = (
    -8, -4.5, -3, -2.5, -2, -1.5, -1.25, -0.75, -0.5, -0.3, -0.2, -0.1, -0.05, 0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.25, 1.5, 2, 2.5, 3, 4.5, 8,
)  # fmt: skip
#: days
DT = (
    0, 4 / 145, 1 / 25, 2 / 25, 3 / 25, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 3.5, 4.5, 5.5, 7, 10, 20, 30, 45, 60, 75, 90, 120, 150, 180, 210, 240,
)  # fmt: skip


def dmdt(times: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
    """The histogram of all pairs, of unit norm, shape (26, 26): rows are differences of magnitude (mag), columns of time (days).

    Parameters
    ----------
    times, magnitudes : shape (N,), days and mag, in time
    """
    first, second = np.triu_indices(len(times), 1)
    counts, *_ = np.histogram2d(magnitudes[second] - magnitudes[first], times[second] - times[first], bins=(DM, DT))
    norm = np.linalg.norm(counts)
    return counts / norm if norm else counts
