"""A made-up survey as a HATS catalogue with margins, written by LSDB: galaxies all over the sky, and where it is hard.

Beside random places there are pairs across the borders of partitions, at their corners and around both poles, some of
them comparable companions (a merger) and some a lens and the galaxy that it excludes.
"""

import numpy as np
import pandas as pd

from skytrace.surveys.interface import GALAXY_COLUMNS

ORDER = 1


def galaxies(n=4000, *, seed=3):
    """GALAXY_COLUMNS of n galaxies at random and of pairs 4" apart on the borders of cells of ORDER."""
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(0.0, 360.0, n), np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, n)))
    pair_ra, pair_dec = border_pairs()
    ra, dec = np.concatenate([ra, pair_ra]), np.concatenate([dec, pair_dec])
    n = len(ra)
    table = pd.DataFrame({name: rng.uniform(0.5, 2.0, n) for name in GALAXY_COLUMNS if name not in ("galaxy_id",)})
    table.insert(0, "galaxy_id", [f"g{number:06d}" for number in rng.permutation(n)])
    table["ra"], table["dec"] = ra, dec
    table["type"] = rng.choice(["SER", "DEV", "REX", "EXP", "PSF"], n)
    table["maskbits"] = np.where(rng.random(n) < 0.1, 2, 0)
    for band in "grz":
        table[f"flux_{band}"] = 10.0 ** rng.uniform(0.6, 2.0, n)
        table[f"nobs_{band}"] = rng.integers(2, 14, n)
    table.loc[n - len(pair_ra) :, ["flux_r", "flux_z"]] = 20.0, 20.0  # bright, comparable, and of a type that is kept
    table.loc[n - len(pair_ra) :, "maskbits"] = 0
    table.loc[n - len(pair_ra) :, ["nobs_g", "nobs_r", "nobs_z"]] = 5
    table.loc[n - len(pair_ra) :, "type"] = "SER"
    return table.sample(frac=1.0, random_state=1, ignore_index=True)


def border_pairs():
    """(ra, dec) of galaxies 2" to either side of the middles of edges and of corners of cells, and about the poles."""
    from astropy import units
    from astropy.coordinates import SkyCoord
    from astropy_healpix import HEALPix

    grid = HEALPix(nside=2**ORDER, order="nested")
    cells = np.arange(grid.npix)
    lon, lat = grid.boundaries_lonlat(cells, step=2)  # 4 corners and 4 middles of edges
    middle = SkyCoord(*grid.healpix_to_lonlat(np.repeat(cells, 8)))
    places = SkyCoord(lon.ravel(), lat.ravel())
    _, once = np.unique(np.round(places.cartesian.xyz.value, 6), axis=1, return_index=True)  # cells share them
    once = once[np.abs(places.dec.deg[once]) < 89.0]
    places, middle = places[once], middle[once]
    inward = places.position_angle(middle)
    sides = [places.directional_offset_by(inward + turn * units.deg, 2.0 * units.arcsec) for turn in (0.0, 180.0)]
    ra = np.concatenate([*(side.ra.deg for side in sides), [10.0, 100.0, 190.0, 280.0, 45.0, 225.0]])
    pole = 90.0 - 2.5 / 3600.0
    dec = np.concatenate([*(side.dec.deg for side in sides), [pole] * 4, [-pole] * 2])
    return ra, dec


def write_hats(table, folder, *, margin_arcsec=10.0, order=0, rows=10_000):
    """The table as a HATS collection in ``folder``: partitions of ``order`` at least and of ``rows`` rows at most."""
    import lsdb

    catalogue = lsdb.from_dataframe(
        table, ra_column="ra", dec_column="dec", lowest_order=order, highest_order=6, partition_rows=rows,
        margin_threshold=margin_arcsec,
    )  # fmt: skip
    catalogue.write_catalog(
        folder, catalog_name="galaxies", as_collection=True, progress_bar=False, create_thumbnail=False
    )
    return folder
