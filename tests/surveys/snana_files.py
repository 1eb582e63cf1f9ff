"""Small SNANA files of known fluxes, FITS and text, and a table of filters."""

import gzip
from pathlib import Path

import numpy as np
from astropy.io import fits

#: snid -> its observations (mjd, band, FLUXCAL, error); two of the SNe have one observation, the first and the last.
SUPERNOVAE = {
    "001234": [(56000.25, "g", 10.0, 1.0)],
    "2011fe": [(56010.0, "r", -3.5, 2.0), (56012.5, "i", 25.0, 2.5), (56013.5, "z", 1000.0, 30.0)],
    "77": [(56020.125, "z", 4.0, 0.5)],
}
REDSHIFTS = {"001234": 0.1, "2011fe": 0.25, "77": 0.5}


def write_fits(folder: Path, *, shift: int = 0, separators: bool = True, compress: bool = False) -> tuple[Path, Path]:
    """A HEAD and PHOT pair as SNANA writes them; ``shift`` moves every pointer: a file whose pointers are wrong."""
    rows, first, last = [], [], []
    for observations in SUPERNOVAE.values():
        first.append(len(rows) + 1)
        rows += observations
        last.append(len(rows))
        if separators:
            rows.append((-777.0, "-", -777.0, -777.0))
    mjd, band, flux, error = zip(*rows, strict=True)
    column = fits.Column
    phot = fits.BinTableHDU.from_columns(
        [column("MJD", "D", array=mjd), column("BAND", "2A", array=[b.ljust(2) for b in band]),
         column("FLUXCAL", "E", array=flux), column("FLUXCALERR", "E", array=error)]
    )  # fmt: skip
    n = len(SUPERNOVAE)
    head = fits.BinTableHDU.from_columns(
        [column("SNID", "16A", array=[name.ljust(16) for name in SUPERNOVAE]),
         column("REDSHIFT_HELIO", "E", array=list(REDSHIFTS.values())),
         column("REDSHIFT_FINAL", "E", array=[z - 0.001 for z in REDSHIFTS.values()]),
         column("MWEBV", "E", array=[0.01, 0.02, -9.0]), column("SNTYPE", "J", array=[1, 101, -9]),
         column("PEAKMJD", "E", array=[56001.0, 56012.0, -9.0]),
         column("PTROBS_MIN", "J", array=np.array(first) + shift),
         column("PTROBS_MAX", "J", array=np.array(last) + shift), column("NOBS", "J", array=[n] * n)]
    )  # fmt: skip
    paths = []
    for name, table in (("HEAD", head), ("PHOT", phot)):
        path = folder / f"SMALL_{name}.FITS"
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
        if compress:
            packed = path.with_suffix(".FITS.gz")
            packed.write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
            path = packed
        paths.append(path)
    return paths[0], paths[1]


def write_text(folder: Path, names: dict[str, str] | None = None) -> list[Path]:
    """One text file a SN; ``names``: what to call some of them instead."""
    paths = []
    for name, observations in SUPERNOVAE.items():
        lines = [
            "SURVEY: DES", f"SNID:  {(names or {}).get(name, name)}  # its name", "FILTERS: griz",
            "MWEBV: 0.01 +- 0.001", f"REDSHIFT_HELIO: {REDSHIFTS[name]} +- 0.0005",
            "REDSHIFT_FINAL: 0.3 +- 0.0005 (CMB)", "SNTYPE: 1", "PEAKMJD: 56012.0", "",
            f"NOBS: {len(observations)}", "NVAR: 5", "VARLIST: MJD FLT FIELD FLUXCAL FLUXCALERR",
            *(f"OBS: {mjd} {band} NULL {flux} {error}" for mjd, band, flux, error in observations),
            "END:", "",
        ]  # fmt: skip
        path = folder / f"des_{name}.dat"
        path.write_text("\n".join(lines), encoding="utf-8")
        paths.append(path)
    return sorted(paths)


def write_filters(folder: Path, *, offset_mag: float = 0.0, bands: str = "griz") -> Path:
    wavelength = {"g": 480.94, "r": 642.044, "i": 781.603, "z": 917.113}
    lines = ["survey,band,wavelength_nm,ab_offset_mag", *(f"DES,{b},{wavelength[b]},{offset_mag}" for b in bands)]
    path = folder / "filters.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
