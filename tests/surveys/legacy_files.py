"""Files of the Legacy Surveys written by the tests: sweeps, service answers and brick coadds of an analytic sky."""

import io

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.wcs import WCS

SCALE = 0.262
FWHM = np.array([1.3, 1.1, 1.0])  # half-maximum widths of the analytic stars, g r z
FLUX = np.array([4.0, 10.0, 25.0])
SIGMA = np.array([0.004, 0.006, 0.012])

FLOATS = [
    *(f"flux_{b}" for b in "grz"), *(f"flux_ivar_{b}" for b in "grz"), "shape_r", "shape_e1", "shape_e2", "sersic",
    *(f"{name}_{b}" for name in ("psfsize", "psfdepth", "galdepth") for b in "grz"), "ebv",
]  # fmt: skip


def moffat_pixels(*, x, y, flux, fwhm_arcsec, shape, beta=3.5):
    """A Moffat star (an ePSF: sampled, not integrated) at 0-based (x, y), by its closed form."""
    alpha = fwhm_arcsec / SCALE / (2 * np.sqrt(2 ** (1 / beta) - 1))
    rows, columns = np.indices(shape)
    radius2 = ((columns - x) ** 2 + (rows - y) ** 2) / alpha**2
    return flux * (beta - 1) / (np.pi * alpha**2) * (1 + radius2) ** -beta


def star_stamp(size=101, *, flux=FLUX):
    centre = size // 2
    place = {"x": centre, "y": centre, "shape": (size, size)}
    return np.stack([moffat_pixels(flux=f, fwhm_arcsec=w, **place) for f, w in zip(flux, FWHM, strict=True)]).astype(
        np.float32
    )


def sweep_rows(n=5, *, ra=150.0, dec=2.0, seed=1, step=0.002):
    """A table in the columns of a DR10.1 sweep, lower case, one galaxy every ``step`` deg of ra."""
    rng = np.random.default_rng(seed)
    table = {
        "release": np.full(n, 10000, dtype=np.int16),
        "brickid": np.full(n, 333333, dtype=np.int32),
        "objid": np.arange(n, dtype=np.int32) + 7,
        "brickname": np.full(n, "1500p020"),
        "type": np.array(["SER", "DEV", "REX", "EXP", "PSF"])[np.arange(n) % 5],
        "ra": ra + step * np.arange(n),
        "dec": np.full(n, dec),
        "maskbits": np.zeros(n, dtype=np.int16),
    }
    for name in FLOATS:
        table[name] = rng.uniform(1.0, 5.0, n).astype(np.float32)
    for band, flux in zip("grz", FLUX, strict=True):
        table[f"flux_{band}"] = (flux * rng.uniform(0.5, 2.0, n)).astype(np.float32)
        table[f"nobs_{band}"] = np.full(n, 4, dtype=np.int16)
        table[f"psfsize_{band}"] = np.full(n, 1.2, dtype=np.float32)
    return pd.DataFrame(table)


def write_sweep(path, table, *, upper=True, drop=()):
    columns = []
    for name in table.columns:
        if name in drop:
            continue
        values = table[name].to_numpy()
        kind = {"i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}.get(values.dtype.str[1:])
        if kind is None:
            values, kind = values.astype(str), ("8A" if name == "brickname" else "3A")
        columns.append(fits.Column(name=name.upper() if upper else name, format=kind, array=values))
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path, overwrite=True)
    return path


def answer(image, invvar=None, maskbits=None, *, bands="grz", listed=None, header=None):
    """A service answer as bytes: HDUs labelled by IMAGETYP, planes in the order of ``bands``."""
    hdus = []
    for label, pixels in (("IMAGE", image), ("INVVAR", invvar), ("MASKBITS", maskbits)):
        if pixels is None:
            continue
        hdu = (fits.ImageHDU if hdus else fits.PrimaryHDU)(np.asarray(pixels))
        hdu.header["BANDS"] = bands
        for i, band in enumerate(bands if listed is None else listed):
            hdu.header[f"BAND{i}"] = band
        hdu.header["IMAGETYP"] = label
        hdu.header["CD2_2"] = SCALE / 3600
        for key, value in (header or {}).items():
            hdu.header[key] = value
        hdus.append(hdu)
    out = io.BytesIO()
    fits.HDUList(hdus).writeto(out)
    return out.getvalue()


def brick_wcs(ra, dec, size):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(size + 1) / 2] * 2
    wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    return wcs


def write_brick(coadd, brick, planes, wcs):
    """fpack-compressed products of one brick. planes: {(what, band or None): (y, x) array}."""
    folder = coadd / brick[:3] / brick
    folder.mkdir(parents=True, exist_ok=True)
    for (what, band), pixels in planes.items():
        suffix = f"-{band}" if band else ""
        lossless = {"compression_type": "GZIP_2", "quantize_level": 0.0} if pixels.dtype.kind == "f" else {
            "compression_type": "RICE_1"
        }  # fmt: skip
        hdu = fits.CompImageHDU(pixels, header=wcs.to_header(), tile_shape=(100, 100), **lossless)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(
            folder / f"legacysurvey-{brick}-{what}{suffix}.fits.fz", overwrite=True
        )
    return folder
