"""The light of each galaxy as a sum of Sersic profiles and small Gaussians, by category.

Bodies are Sersic profiles; spiral arms, rings, tidal tails and star-forming clumps are chains of Gaussians with bluer
colours. Rings, arms and companions are drawn at the radii and colours of lensed arcs on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.imaging.profiles import GaussianComponents, SersicComponents

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["blue_objects", "concatenate_gaussians", "concatenate_sersic", "galaxy_components", "share_flux"]


def share_flux(
    total: NDArray[np.float64], weight: NDArray[np.float64], blueness: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Split total (m, band) over k parts: (m, k, band), summing to total in each band.

    weight: (m, k) shares of the light in r; blueness: (m, k) how much bluer [mag] in g-r a part is than one of
    blueness 0 (and 0.6 of that in r-z).
    """
    band = np.array([0.4, 0.0, -0.24])
    parts = weight[..., None] * 10.0 ** (blueness[..., None] * band)
    return total[:, None, :] * parts / parts.sum(axis=1, keepdims=True)


def concatenate_sersic(parts: list[SersicComponents]) -> SersicComponents:
    """All components in one table, ordered by stamp."""
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
    return SersicComponents(**joined).take(np.argsort(joined["stamp"], kind="stable"))


def concatenate_gaussians(parts: list[GaussianComponents]) -> GaussianComponents:
    """All components in one table, ordered by stamp."""
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
    return GaussianComponents(**joined).take(np.argsort(joined["stamp"], kind="stable"))


def galaxy_components(
    hosts: pd.DataFrame, flux: NDArray[np.float64], *, rng: np.random.Generator
) -> tuple[SersicComponents, GaussianComponents]:
    """Components of every galaxy of ``hosts`` (stamp = row), whose fluxes sum to ``flux`` (n, band).

    Companions of ellipticals and second nuclei of mergers are objects of their own and come on top.
    """
    category = hosts["category"].to_numpy()
    radius = hosts["radius"].to_numpy() * np.sqrt(hosts["q"].to_numpy())
    shape = np.stack([radius, *(hosts[name].to_numpy() for name in ("sersic", "q", "phi"))], axis=-1)
    rows = {name: np.flatnonzero(category == name) for name in np.unique(category)}
    none = np.empty(0, dtype=np.int64)
    plain = np.flatnonzero(np.isin(category, ["lens", "early", "disk", "companion"]))
    sersic = [_sersic(plain, flux[plain], shape[plain])]
    gaussians: list[GaussianComponents] = [_gaussians(none, np.empty((0, 0, 2)), np.empty((0, 0)), np.empty((0, 0, 3)))]
    builders = {"spiral": _spirals, "ring": _rings, "merger": _mergers, "edge_on": _edge_on, "blue_clumpy": _clumpy}
    for name, build in builders.items():
        index = rows.get(name, none)
        if len(index):
            bodies, lumps = build(index, flux[index], shape[index], rng)
            sersic.extend(bodies)
            gaussians.extend(lumps)
    companions = rows.get("companion", none)
    if len(companions):
        sersic.append(_companions(companions, rng))
    return concatenate_sersic(sersic), concatenate_gaussians(gaussians)


def _sersic(
    stamp: NDArray[np.int64], flux: NDArray, shape: NDArray, x: NDArray | None = None, y: NDArray | None = None
) -> SersicComponents:
    zero = np.zeros(len(stamp))
    return SersicComponents(
        stamp, flux, zero if x is None else x, zero if y is None else y, *(shape[:, i] for i in range(4))
    )


def _gaussians(stamp: NDArray[np.int64], xy: NDArray, sigma: NDArray, flux: NDArray) -> GaussianComponents:
    """(m, k) chains: xy (m, k, 2), sigma (m, k), flux (m, k, 3)."""
    k = sigma.shape[1]
    return GaussianComponents(
        np.repeat(stamp, k), flux.reshape(-1, 3), xy[..., 0].ravel(), xy[..., 1].ravel(), sigma.ravel()
    )


def _incline(r: NDArray, angle: NDArray, q: NDArray, phi: NDArray) -> NDArray[np.float64]:
    """Positions (m, k, 2) of points at radius and angle in a disk seen with axis ratio q at position angle phi."""
    u, v = r * np.cos(angle), r * np.sin(angle) * q[:, None]
    cos, sin = np.cos(phi)[:, None], np.sin(phi)[:, None]
    return np.stack([u * cos - v * sin, u * sin + v * cos], axis=-1)


def _spirals(index: NDArray, flux: NDArray, shape: NDArray, rng: np.random.Generator) -> tuple[list, list]:
    m, per_arm, arms = len(index), 36, 3
    q, phi = shape[:, 2], shape[:, 3]
    major = shape[:, 0] / np.sqrt(q)
    pitch = np.radians(rng.uniform(10.0, 30.0, m))[:, None, None]
    start = rng.uniform(0.35, 0.7, (m, 1, 1)) * major[:, None, None]
    wind = np.linspace(0.0, 1.0, per_arm)[None, None, :] * rng.uniform(2.2, 4.4, (m, arms, 1))
    radius = np.minimum(start * np.exp(np.tan(pitch) * wind), 3.2 * major[:, None, None])
    radius = radius * (1.0 + 0.04 * rng.standard_normal(radius.shape))
    turn = rng.uniform(0.0, 2.0 * np.pi, (m, 1, 1)) + 2.0 * np.pi * np.arange(arms)[None, :, None] / arms
    two = rng.random(m) < 0.7  # grand designs: two opposite arms, the third switched off
    turn = np.where(two[:, None, None], turn * 1.0 + np.pi * np.array([0.0, 1 / 3, 0.0])[None, :, None], turn)
    light = np.exp(-1.1 * radius / major[:, None, None]) * rng.lognormal(0.0, 0.7, radius.shape)
    light[:, 2][two] = 0.0
    handed = rng.choice([-1.0, 1.0], m)[:, None, None]
    xy = _incline(radius.reshape(m, -1), (turn + handed * wind).reshape(m, -1), q, phi)
    sigma = (0.06 + 0.05 * rng.random((m, 1))) * major[:, None] * np.ones((1, arms * per_arm)) + 0.05
    bulge, arm = rng.uniform(0.05, 0.35, m), rng.uniform(0.2, 0.5, m)
    light = light.reshape(m, -1)
    weight = np.column_stack([bulge, 1.0 - bulge - arm, arm[:, None] * light / light.sum(axis=1, keepdims=True)])
    contrast = rng.uniform(0.5, 1.0, m)[:, None]
    tint = np.concatenate([-0.45 * np.ones(1), np.zeros(1), np.ones(arms * per_arm)])[None, :]
    parts = share_flux(flux, weight, contrast * tint)
    bulge_shape = np.column_stack([0.22 * shape[:, 0] / np.sqrt(q), np.full(m, 2.5), np.sqrt(np.maximum(q, 0.5)), phi])
    disk_shape = np.column_stack([1.15 * shape[:, 0], np.ones(m), q, phi])
    bodies = [_sersic(index, parts[:, 0], bulge_shape), _sersic(index, parts[:, 1], disk_shape)]
    return bodies, [_gaussians(index, xy, sigma, parts[:, 2:])]


def _rings(index: NDArray, flux: NDArray, shape: NDArray, rng: np.random.Generator) -> tuple[list, list]:
    m, k = len(index), 56
    radius = rng.uniform(0.9, 2.9, m)[:, None] * np.ones((1, k))
    angle = np.linspace(0.0, 2.0 * np.pi, k, endpoint=False)[None, :] + rng.uniform(0.0, 2.0 * np.pi, (m, 1))
    # some rings are complete, some light up over less than half a turn, as arcs do
    uneven = 1.0 + rng.uniform(0.0, 1.0, (m, 1)) * np.cos(angle) + rng.uniform(0.0, 0.5, (m, 1)) * np.cos(2.0 * angle)
    light = np.clip(uneven, 0.02, None) ** rng.choice([1.0, 2.5], (m, 1)) * rng.lognormal(0.0, 0.4, (m, k))
    q, phi = rng.uniform(0.55, 1.0, m), rng.uniform(0.0, np.pi, m)
    xy = _incline(radius, angle, q, phi)
    sigma = rng.uniform(0.08, 0.25, (m, 1)) * np.ones((1, k))
    share = rng.uniform(0.06, 0.30, m)
    weight = np.column_stack([1.0 - share, share[:, None] * light / light.sum(axis=1, keepdims=True)])
    tint = np.column_stack([np.zeros(m), rng.uniform(0.5, 1.3, m)[:, None] * np.ones((1, k))])
    parts = share_flux(flux, weight, tint)
    body = shape.copy()
    body[:, 0] = np.minimum(body[:, 0], 0.6 * radius[:, 0])
    return [_sersic(index, parts[:, 0], body)], [_gaussians(index, xy, sigma, parts[:, 1:])]


def _mergers(index: NDArray, flux: NDArray, shape: NDArray, rng: np.random.Generator) -> tuple[list, list]:
    m, k = len(index), 40
    tail = rng.uniform(0.05, 0.22, m)
    turn = np.linspace(0.0, 1.0, k)[None, :] * np.radians(rng.uniform(50.0, 190.0, m))[:, None]
    bend = rng.uniform(1.0, 2.8, m)[:, None]
    angle0 = rng.uniform(0.0, 2.0 * np.pi, m)[:, None]
    handed = rng.choice([-1.0, 1.0], m)[:, None]
    # a tail leaves the galaxy and curves about a point beside it
    x = bend * (np.cos(angle0 + handed * turn) - np.cos(angle0)) * 1.3
    y = bend * (np.sin(angle0 + handed * turn) - np.sin(angle0)) * 1.3
    light = np.exp(-1.5 * np.linspace(0.0, 1.0, k))[None, :] * rng.lognormal(0.0, 0.5, (m, k))
    weight = np.column_stack([1.0 - tail, tail[:, None] * light / light.sum(axis=1, keepdims=True)])
    tint = np.column_stack([np.zeros(m), rng.uniform(-0.1, 0.8, m)[:, None] * np.ones((1, k))])
    parts = share_flux(flux, weight, tint)
    sigma = rng.uniform(0.12, 0.32, (m, 1)) * np.ones((1, k))
    apart, direction = rng.uniform(1.0, 3.6, m), rng.uniform(0.0, 2.0 * np.pi, m)
    other_flux = flux * rng.uniform(0.15, 0.9, m)[:, None] * 10.0 ** (rng.normal(0.0, 0.08, m)[:, None] * [1, 0, -1])
    other = np.column_stack(
        [
            shape[:, 0] * rng.uniform(0.5, 1.0, m),
            rng.uniform(1, 4, m),
            rng.uniform(0.4, 0.95, m),
            rng.uniform(0, np.pi, m),
        ]
    )
    second = _sersic(index, other_flux, other, apart * np.cos(direction), apart * np.sin(direction))
    chain = _gaussians(index, np.stack([x, y], axis=-1), sigma, parts[:, 1:])
    return [_sersic(index, parts[:, 0], shape), second], [chain]


def _edge_on(index: NDArray, flux: NDArray, shape: NDArray, rng: np.random.Generator) -> tuple[list, list]:
    m = len(index)
    bulge = rng.uniform(0.05, 0.3, m)
    parts = share_flux(flux, np.column_stack([bulge, 1.0 - bulge]), np.column_stack([np.full(m, -0.35), np.zeros(m)]))
    round_bulge = np.column_stack([0.45 * shape[:, 0], np.full(m, 2.0), np.full(m, 0.7), shape[:, 3]])
    thin_disk = np.column_stack([shape[:, 0], np.ones(m), shape[:, 2], shape[:, 3]])
    return [_sersic(index, parts[:, 0], round_bulge), _sersic(index, parts[:, 1], thin_disk)], []


def _clumpy(index: NDArray, flux: NDArray, shape: NDArray, rng: np.random.Generator) -> tuple[list, list]:
    m, k = len(index), 8
    major = (shape[:, 0] / np.sqrt(shape[:, 2]))[:, None]
    radius = np.minimum(rng.gamma(2.0, 0.5, (m, k)), 2.2) * major
    xy = _incline(radius, rng.uniform(0.0, 2.0 * np.pi, (m, k)), shape[:, 2], shape[:, 3])
    clumps = rng.uniform(0.15, 0.5, m)[:, None] * rng.dirichlet(np.full(k, 0.8), m)
    weight = np.column_stack([1.0 - clumps.sum(axis=1), clumps])
    parts = share_flux(flux, weight, np.column_stack([np.zeros(m), rng.uniform(0.1, 0.5, (m, k))]))
    return [_sersic(index, parts[:, 0], shape)], [_gaussians(index, xy, rng.uniform(0.06, 0.2, (m, k)), parts[:, 1:])]


def blue_objects(mag_r: NDArray, rng: np.random.Generator) -> NDArray[np.float64]:
    """Fluxes (n, band) of distant star-forming galaxies of r magnitude ``mag_r``: g-r and r-z 0.35 +- 0.25."""
    g_r, r_z = rng.normal(0.35, 0.25, mag_r.shape), rng.normal(0.35, 0.25, mag_r.shape)
    return 10.0 ** (0.4 * (22.5 - np.stack([mag_r + g_r, mag_r, mag_r - r_z], axis=-1)))


def _companions(index: NDArray, rng: np.random.Generator) -> SersicComponents:
    """One to three blue companions 0.9-3.0" from an elliptical; half at one radius, most of them tangential."""
    m, k = len(index), 3
    count = rng.choice([1, 2, 3], m, p=[0.45, 0.35, 0.2])
    radius = rng.uniform(0.9, 3.0, (m, k))
    shared = rng.random(m) < 0.5
    radius[shared] = radius[shared, :1] * (1.0 + 0.06 * rng.standard_normal((shared.sum(), k)))
    angle = rng.uniform(0.0, 2.0 * np.pi, (m, k))
    opposite = rng.random(m) < 0.4  # mimic an image and its counter-image
    angle[opposite, 1] = angle[opposite, 0] + np.pi + 0.2 * rng.standard_normal(opposite.sum())
    tangential = rng.random((m, k)) < 0.65
    phi = np.where(tangential, angle + np.pi / 2 + 0.25 * rng.standard_normal((m, k)), rng.uniform(0, np.pi, (m, k)))
    q = np.where(tangential, rng.uniform(0.2, 0.6, (m, k)), rng.uniform(0.4, 1.0, (m, k)))
    size = np.exp(rng.normal(np.log(0.32), 0.3, (m, k)))
    mag = 24.3 + np.log10(1.0 - rng.random((m, k)) * (1 - 10 ** (-0.35 * 3.0))) / 0.35  # r 21.3-24.3
    keep = (np.arange(k)[None, :] < count[:, None]).ravel()
    return SersicComponents(
        np.repeat(index, k)[keep], blue_objects(mag.ravel(), rng)[keep],
        (radius * np.cos(angle)).ravel()[keep], (radius * np.sin(angle)).ravel()[keep],
        size.ravel()[keep], rng.uniform(0.6, 1.6, m * k)[keep], q.ravel()[keep], np.mod(phi, np.pi).ravel()[keep],
    )  # fmt: skip
