"""FITS files from outside: opened only after the sizes that their headers claim were held against the file itself.

A header may claim any size, and astropy allocates what it claims. So every claim is checked first: data that lie in the
file cannot be larger than the file, and what is packed (gzip, compressed tiles) may unpack to MAX_UNPACKED_GB at most.
"""

from __future__ import annotations

import contextlib
import io
import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skytrace.errors import SurveyError, reading

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_UNPACKED_GB", "celestial_wcs", "check_claims", "open_fits"]

#: What one packed file, or one image of compressed tiles, may become in memory.
MAX_UNPACKED_GB = 4.0
_GZIP = b"\x1f\x8b"
_PIECE = 1 << 20
#: The convention (Shupe et al. 2005) knows orders to 9; the coefficients are a square of the order.
_MAX_SIP_ORDER = 9


@contextlib.contextmanager
def open_fits(
    path: Path,
    *,
    label: str = "",
    what: str = "FITS",
    max_unpacked_gb: float = MAX_UNPACKED_GB,
    whole: bool = True,
    **how: Any,
) -> Iterator[Any]:
    """The HDUs of a file, plain or gzipped; label: what messages call it instead of its path. ``how`` goes to
    ``astropy.io.fits.open``. whole: data must lie in the file.

    Raises SurveyError naming the file: for what is no FITS, for a header that claims a negative size or more data than
    there are, for more than ``max_unpacked_gb`` unpacked, and for whatever goes wrong inside the block.
    """
    from astropy.io import fits

    label = label or str(path)
    with reading(label, what):
        source: Path | bytes = path
        with path.open("rb") as stream:
            begin = stream.read(6)
        if begin.startswith(_GZIP):
            source = _gunzipped(path, max_unpacked_gb)
            begin = source[:6]
        if begin != b"SIMPLE":
            raise SurveyError(
                f"{label} cannot be read as {what}: it does not begin with SIMPLE; it is plain or gzipped"
            )
        check_claims(source, label, max_unpacked_gb=max_unpacked_gb, whole=whole)
        with fits.open(_stream(source), memmap=False, **how) as hdus:
            yield hdus


def check_claims(
    source: Path | bytes, name: str, *, max_unpacked_gb: float = MAX_UNPACKED_GB, whole: bool = True
) -> None:
    """Raise SurveyError for headers that claim what cannot be; nothing but headers is read."""
    from astropy.io import fits

    size = source.stat().st_size if isinstance(source, Path) else len(source)
    with fits.open(_stream(source), memmap=False, disable_image_compression=True) as hdus:
        for number, hdu in enumerate(hdus):
            header = hdu.header
            shape = _axes(header, "", f"{name}, HDU {number}")
            needs = abs(int(header["BITPIX"])) // 8 * int(header.get("GCOUNT", 1))
            needs *= (math.prod(shape) if shape else 0) + int(header.get("PCOUNT", 0))
            end = int(hdu.fileinfo()["datLoc"]) + needs  # a file is whole without the padding to 2880 bytes
            if needs < 0 or (whole and end > size):
                raise SurveyError(
                    f"{name} is not whole: HDU {number} with NAXIS {shape} needs {end:,} bytes, the file has {size:,}; "
                    "fetch it again"
                )
            if isinstance(hdu, fits.BinTableHDU) and shape and hdu.columns.dtype.itemsize > shape[0]:
                raise SurveyError(
                    f"{name}, HDU {number}: the columns of a row have {hdu.columns.dtype.itemsize:,} bytes, "
                    f"NAXIS1 = {shape[0]:,}"
                )
            if header.get("ZIMAGE", False):
                _check_tiles(header, f"{name}, HDU {number}", max_unpacked_gb)


def _stream(source: Path | bytes) -> Any:
    return source if isinstance(source, Path) else io.BytesIO(source)


def celestial_wcs(header: Any, path: Path | str) -> Any:
    """The WCS of two axes of a header. Raises SurveyError naming the file where astropy makes none of it."""
    from astropy.io import fits
    from astropy.wcs import WCS

    with reading(path, "an image with a WCS"):
        orders = {key: int(header[key]) for key in ("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER") if key in header}
        wrong = [f"{key} = {order}" for key, order in orders.items() if not 0 <= order <= _MAX_SIP_ORDER]
        if wrong:
            raise SurveyError(f"{path} has {wrong[0]}; the order of a distortion is in [0, {_MAX_SIP_ORDER}]")
        return WCS(fits.Header(header, copy=True), naxis=2)


def _axes(header: Any, prefix: str, name: str) -> tuple[int, ...]:
    axes = tuple(int(header[f"{prefix}NAXIS{i + 1}"]) for i in range(int(header[f"{prefix}NAXIS"])))
    if any(axis < 0 for axis in axes):
        raise SurveyError(f"{name} claims {prefix}NAXIS {axes}: sizes are not negative")
    return axes


def _check_tiles(header: Any, name: str, max_unpacked_gb: float) -> None:
    shape = _axes(header, "Z", name)
    tile = tuple(int(header.get(f"ZTILE{i + 1}", 1)) for i in range(len(shape)))
    limit = max_unpacked_gb * 1e9
    for words, sizes in (("image", shape), ("tile", tile)):
        if math.prod(sizes) * abs(int(header["ZBITPIX"])) // 8 > limit:
            raise SurveyError(f"{name} claims a compressed {words} of {sizes}, above {max_unpacked_gb:g} GB unpacked")
    if any(side < 1 for side in tile):
        raise SurveyError(f"{name} claims compressed tiles of {tile}")


def _gunzipped(path: Path, max_unpacked_gb: float) -> bytes:
    """What a gzipped file holds; never more than the limit of it lies in memory."""
    import gzip

    held, limit = bytearray(), max_unpacked_gb * 1e9
    try:
        with gzip.open(path) as stream:
            while piece := stream.read(_PIECE):
                held += piece
                if len(held) > limit:
                    raise SurveyError(f"{path} unpacks to more than {max_unpacked_gb:g} GB: it is not unpacked further")
    except (EOFError, zlib.error, OSError) as error:
        raise SurveyError(f"{path} is no whole gzip file: {error}") from error
    return bytes(held)
