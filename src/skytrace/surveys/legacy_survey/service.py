"""The cutout service of the Legacy Surveys viewer: what is asked for, and what an answer must be to count as sky.

``/viewer/fits-cutout?ra=&dec=&size=&layer=&pixscale=&bands=grz&invvar&maskbits`` answers with HDUs that say in
IMAGETYP (or EXTNAME) which of image, INVVAR and MASKBITS they are, and in BANDS, BAND0.. which plane is which band.
Where the survey has no data it answers with an error, an empty image with OVERLAP = F, or zeros: never with NaN.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import SurveyError
from skytrace.surveys.fits_files import check_claims
from skytrace.surveys.interface import BANDS
from skytrace.surveys.legacy_survey.download import Request
from skytrace.surveys.pixel_masks import field_maskbits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.surveys.legacy_survey.options import LegacySurveyOptions

__all__ = ["CUTOUT_PATH", "ServiceCutout", "cutout_request", "filled_cutout", "parse_cutout"]

CUTOUT_PATH = "/viewer/fits-cutout"


@dataclass(frozen=True)
class ServiceCutout:
    """One answer: image (band, y, x) in the order g, r, z; invvar the same or None; maskbits (y, x) or None."""

    image: NDArray[np.float32]
    invvar: NDArray[np.float32] | None
    maskbits: NDArray[np.int32] | None


def cutout_request(
    galaxy_id: str, ra_deg: float, dec_deg: float, *, size: int, options: LegacySurveyOptions
) -> Request:
    """The request of one galaxy. The file's name holds everything that its content depends on."""
    scale = f"{options.pixel_scale_arcsec:g}"
    query = {
        "ra": f"{ra_deg:.7f}",
        "dec": f"{dec_deg:.7f}",
        "size": str(size),
        "layer": options.layer,
        "pixscale": scale,
        "bands": "".join(BANDS),
        "invvar": "",
        "maskbits": "",
    }
    return Request(galaxy_id, f"{galaxy_id}_{options.layer}_{size}px_{scale}.fits", query)


def parse_cutout(content: bytes, name: str, *, size: int, pixel_scale_arcsec: float) -> ServiceCutout:
    """The pixels of an answer, in the order g, r, z by its header. Pixels that are not finite carry no data.

    Raises SurveyError naming the galaxy for an answer that is not FITS or is cut short, a wrong size or pixel scale,
    header entries BANDS and BAND0.. that are absent, contradict each other or lack g, r or z, no overlap (zeros,
    OVERLAP = F, nothing finite), and a negative inverse variance.
    """
    planes = _planes(content, name)
    if "image" not in planes:
        raise SurveyError(f"{name}: the answer holds no image" + (": no overlap with the survey" if planes else ""))
    header, image = planes["image"]
    order = _band_order(header, name)
    if image.shape != (len(order), size, size):
        raise SurveyError(f"{name}: image shape {image.shape} is not ({len(order)}, {size}, {size})")
    scale = abs(float(header.get("CD2_2", header.get("CDELT2", pixel_scale_arcsec / 3600.0)))) * 3600.0
    if not np.isclose(scale, pixel_scale_arcsec, rtol=1e-3):
        raise SurveyError(f"{name}: pixel scale {scale:g} arcsec is not the {pixel_scale_arcsec:g} asked for")
    index = [order.index(band) for band in BANDS]
    image = image[index]
    if not (np.isfinite(image) & (image != 0)).any():
        raise SurveyError(f"{name}: the image is empty (all zero or NaN): no overlap with the survey")
    invvar = maskbits = None
    if "invvar" in planes:
        weight_header, invvar = planes["invvar"]
        if invvar.shape != (len(order), size, size):
            raise SurveyError(f"{name}: INVVAR shape {invvar.shape} differs from the image's")
        # its own header decides where it has one: the two HDUs need not agree
        own = _band_order(weight_header, name) if "BANDS" in weight_header else order
        invvar = invvar[[own.index(band) for band in BANDS]]
        if (invvar < 0).any():
            raise SurveyError(f"{name}: the inverse variance has negative values")
        good = np.isfinite(image) & np.isfinite(invvar) & (invvar > 0)
        invvar = np.where(good, invvar, 0).astype(np.float32)
    if "maskbits" in planes:
        maskbits = planes["maskbits"][1].reshape(-1, *planes["maskbits"][1].shape[-2:])[0].astype(np.int32)
        if maskbits.shape != (size, size):
            raise SurveyError(f"{name}: MASKBITS shape {maskbits.shape} is not ({size}, {size})")
    return ServiceCutout(np.where(np.isfinite(image), image, 0).astype(np.float32), invvar, maskbits)


def filled_cutout(
    cutout: ServiceCutout, *, sky_invvar: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """(image, invvar, maskbits) of an answer; a missing INVVAR is the catalogue's ``sky_invvar`` (band,) where a pixel
    is not 0.
    """
    image, invvar = cutout.image, cutout.invvar
    if invvar is None:
        known = np.where(np.isfinite(sky_invvar) & (sky_invvar > 0), sky_invvar, 0.0)
        invvar = np.where(image != 0, known[:, None, None], 0.0).astype(np.float32)
    image = np.where(invvar > 0, image, 0).astype(np.float32)
    bits = field_maskbits(invvar)
    return image, invvar, bits if cutout.maskbits is None else cutout.maskbits | bits


def _planes(content: bytes, name: str) -> dict[str, tuple[Any, NDArray]]:
    """{"image" | "invvar" | "maskbits": (header, pixels)}; HDUs are known by EXTNAME or IMAGETYP, else by their
    place.
    """
    from astropy.io import fits

    if content[:6] != b"SIMPLE":
        raise SurveyError(f"{name}: the answer is not FITS; it begins {bytes(content[:40])!r}")
    found: dict[str, tuple[Any, NDArray]] = {}
    try:
        check_claims(content, f"{name}: the answer")
        with fits.open(io.BytesIO(content), memmap=False, lazy_load_hdus=False) as hdus:
            # astropy pads a short last HDU without a word, so the sizes of the headers are added up
            expected = sum(hdu.filebytes() for hdu in hdus)
            if len(content) < expected:
                raise SurveyError(f"{name}: the answer was cut short: {len(content)} of {expected} bytes")
            for place, hdu in enumerate(hdus):
                if hdu.data is None or not hdu.is_image:
                    continue
                label = str(hdu.header.get("EXTNAME", "") or hdu.header.get("IMAGETYP", "")).strip().lower()
                kind = next((k for k in ("invvar", "maskbits", "image") if k in label), None)
                kind = kind or ("image", "invvar", "maskbits")[min(place, 2)]
                found.setdefault(kind, (hdu.header.copy(), np.array(hdu.data)))
    except SurveyError:
        raise
    except Exception as error:  # astropy answers broken files with many kinds of errors
        raise SurveyError(f"{name}: the answer cannot be read as FITS: {error}") from error
    return found


def _band_order(header: Any, name: str) -> list[str]:
    declared = list(str(header.get("BANDS", "")).strip())
    listed = [str(header[f"BAND{i}"]).strip() for i in range(len(declared)) if f"BAND{i}" in header]
    if not declared:
        raise SurveyError(f"{name}: the header has no BANDS, so its planes cannot be told apart")
    if listed and listed != declared:
        raise SurveyError(f"{name}: the header says BANDS {''.join(declared)} but BAND0.. {''.join(listed)}")
    missing = [band for band in BANDS if band not in declared]
    if missing or len(set(declared)) != len(declared):
        raise SurveyError(
            f"{name}: the answer's bands are {''.join(declared)}; band {', '.join(missing) or 'list'} is missing"
        )
    return declared
