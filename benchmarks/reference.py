"""A slow, converged image of a lensed source in float64: what engines are measured against.

Written apart from skytrace.lensing on purpose: the atan/atanh form of the deflection, 17 x 17 midpoints a pixel,
cells near the cusp of the source split again and again, and the Moffat's transfer function from its Bessel form on a
torus 40 pixels longer than the stamp. Nothing is softened, tabulated or truncated at a kernel radius.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gamma, gammaincinv, hyp2f1, kv

__all__ = ["converged_images", "deflect", "light_of"]

_OVERSAMPLING = 17  # odd: a pixel's centre is a cell's centre
_PAD = 20
_SPLIT = 5
_LEVELS = 4  # 17 * 5^4: 10,600 cells a pixel at the cusp


def deflect(x, y, *, theta_e, q, phi, center_x, center_y, gamma1, gamma2, gamma_epl=2.0):
    """Source position of (x, y): SIE by atan/atanh (Keeton 2001, eq. 34-35; q = 1 stepped aside by 1e-9) and shear.

    Another slope: the power law in closed form, by the hypergeometric function (Tessore & Metcalf 2015, eq. 23).
    """
    q = min(q, 1.0 - 1e-9)
    f = np.sqrt(1.0 - q * q)
    dx, dy = x - center_x, y - center_y
    u, v = np.cos(phi) * dx + np.sin(phi) * dy, -np.sin(phi) * dx + np.cos(phi) * dy
    psi = np.sqrt(q * q * u * u + v * v) + 1e-300
    au = theta_e * np.sqrt(q) / f * np.arctan(f * u / psi)
    av = theta_e * np.sqrt(q) / f * np.arctanh(f * v / psi)
    if gamma_epl != 2.0:
        t, z = gamma_epl - 1.0, q * u + 1j * v
        size = np.maximum(np.abs(z), 1e-9)
        angular = z * hyp2f1(1.0, t / 2.0, 2.0 - t / 2.0, -(1.0 - q) / (1.0 + q) * z**2 / size**2)
        alpha = 2.0 / (1.0 + q) * (theta_e * np.sqrt(q) / size) ** t * angular
        au, av = alpha.real, alpha.imag
    bx = x - (np.cos(phi) * au - np.sin(phi) * av) - (gamma1 * x + gamma2 * y)
    by = y - (np.sin(phi) * au + np.cos(phi) * av) - (gamma2 * x - gamma1 * y)
    return bx, by


def light_of(bx, by, source):
    """Unit-flux surface brightness, distance from the nearest cusp or clump, and that feature's size."""
    n, re = source["n"], source["re"]
    b = gammaincinv(2 * n, 0.5)
    norm = 2 * np.pi * n * re**2 * np.exp(b) * b ** (-2 * n) * gamma(2 * n)
    dx, dy = bx - source["x"], by - source["y"]
    u = np.cos(source["phi"]) * dx + np.sin(source["phi"]) * dy
    v = -np.sin(source["phi"]) * dx + np.cos(source["phi"]) * dy
    rho = np.sqrt(source["q"] * u * u + v * v / source["q"]) / re
    body = 1.0 - sum(clump[0] for clump in source.get("clumps", ()))
    light = body * np.exp(-b * (rho ** (1 / n) - 1)) / norm
    near = np.hypot(dx, dy)
    for fraction, px, py, sigma in source.get("clumps", ()):
        d2 = (dx - px) ** 2 + (dy - py) ** 2
        light = light + fraction / (2 * np.pi * sigma**2) * np.exp(-0.5 * d2 / sigma**2)
        near = np.minimum(near, np.maximum(np.sqrt(d2) - 3 * sigma, 0) + 0.2 * sigma)
    return light, near


def _cell_light(x, y, size, lens, source, level):
    """Mean light of cells of width ``size`` centred on (x, y): midpoint, or 5 x 5 parts where the cusp is near."""
    bx, by = deflect(x, y, **lens)
    light, near = light_of(bx, by, source)
    radius = np.hypot(x - lens["center_x"], y - lens["center_y"])
    stretch = np.maximum(1.0, lens["theta_e"] / np.maximum(radius, size / 2))
    close = np.flatnonzero(near < (4.0 if level == 0 else 2.5) * size * stretch)
    if level < _LEVELS and len(close):
        steps = (np.arange(_SPLIT) - (_SPLIT - 1) / 2) / _SPLIT * size
        sub_x = (x[close, None, None] + steps[None, None, :] + 0 * steps[None, :, None]).ravel()
        sub_y = (y[close, None, None] + steps[None, :, None] + 0 * steps[None, None, :]).ravel()
        parts = _cell_light(sub_x, sub_y, size / _SPLIT, lens, source, level + 1)
        light[close] = parts.reshape(len(close), -1).mean(axis=1)
    return light


def converged_images(lens, source, fwhm, *, beta=3.5, pixels=64, scale=0.262, psf_includes_pixel=True):
    """Images (band, y, x) of a unit-flux source through Moffats of ``fwhm`` (band,) arcsec.

    lens: theta_e, q, phi, center_x, center_y, gamma1, gamma2. source: x, y, re, n, q, phi and perhaps clumps, a list of
    (fraction, dx, dy, sigma). The origin is the centre of pixel (pixels // 2, pixels // 2).
    """
    total, size = pixels + 2 * _PAD, scale / _OVERSAMPLING
    axis = (np.arange(total * _OVERSAMPLING) - (_OVERSAMPLING - 1) / 2) * size - (_PAD + pixels // 2) * scale
    light = np.empty((len(axis), len(axis)))
    for start in range(0, len(axis), 128):
        y = axis[start : start + 128]
        grid_x, grid_y = np.broadcast_to(axis, (len(y), len(axis))).ravel(), np.repeat(y, len(axis))
        light[start : start + 128] = _cell_light(grid_x, grid_y, size, lens, source, 0).reshape(len(y), -1)
    length = total * scale
    harmonics = np.arange(-int(total * 0.98), int(total * 0.98) + 1)
    analysis = np.exp(-2j * np.pi * np.outer(harmonics, axis) / length)
    modes = analysis @ (light * size**2) @ analysis.T
    k = 2 * np.pi * np.hypot(harmonics[:, None], harmonics[None]) / length
    if not psf_includes_pixel:
        response = np.sinc(harmonics * scale / length)
        modes = modes * response * response[:, None]
    centers = (np.arange(pixels) - pixels // 2) * scale
    synthesis = np.exp(2j * np.pi * np.outer(centers, harmonics) / length) / total
    images = []
    for width in fwhm:
        z = np.maximum(k * width / (2 * np.sqrt(2 ** (1 / beta) - 1)), 1e-9)
        otf = 2 * (z / 2) ** (beta - 1) * kv(beta - 1, z) / gamma(beta - 1)
        images.append((synthesis @ (modes * otf) @ synthesis.T).real)
    return np.stack(images)
