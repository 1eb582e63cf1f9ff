"""A FITS image with its header, checksummed, and the same bytes for the same pixels."""

from typing import Any

import numpy as np
from kedro.io import DatasetError

from skytrace.compute.files import atomic_path
from skytrace.datasets.versioned_file import VersionedFile

__all__ = ["FITSImageDataset"]


class FITSImageDataset(VersionedFile):
    """``{"image": array, "header": {key: value}}`` <-> one HDU. Compressed coadds (.fits.fz) are read from HDU 1.

    load_args: ``hdu`` (name or number; default the first that holds pixels). Non-standard header keys and pixels that
    are not numbers are errors on saving; a CHECKSUM that does not hold is one on loading.
    """

    def __init__(self, *, filepath: str, load_args: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(filepath=filepath, **kwargs)
        self._hdu = (load_args or {}).get("hdu")

    def load(self) -> dict[str, Any]:
        """Pixels in native byte order, and the header as a dict."""
        import warnings

        from astropy.io import fits
        from astropy.utils.exceptions import AstropyUserWarning

        path = self.load_path()
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message=".*[Cc]hecksum.*", category=AstropyUserWarning)
                warnings.filterwarnings("error", message=".*truncated.*", category=AstropyUserWarning)
                with fits.open(path, checksum=True, memmap=False) as hdus:
                    hdu = hdus[self._hdu] if self._hdu is not None else next(h for h in hdus if h.shape)
                    image = np.asarray(hdu.data)
                    header = {key: value for key, value in hdu.header.items() if key}
        except (OSError, KeyError, IndexError, StopIteration, AstropyUserWarning, TypeError) as error:
            raise DatasetError(f"{path} is not a whole FITS image ({error or 'no HDU holds pixels'})") from error
        return {"image": image.astype(image.dtype.newbyteorder("=")), "header": header}

    def save(self, data: dict[str, Any]) -> None:
        """Write one primary HDU with CHECKSUM and DATASUM, whose comments carry no time of day."""
        from astropy.io import fits

        image = np.asarray(data["image"])
        if image.dtype.kind not in "iuf":
            raise DatasetError(f"an image of {image.dtype} cannot be FITS pixels")
        header = fits.Header()
        for key, value in data.get("header", {}).items():
            if key not in ("SIMPLE", "BITPIX", "EXTEND", "CHECKSUM", "DATASUM") and not key.startswith("NAXIS"):
                header[key] = value
        hdu = fits.PrimaryHDU(image, header=header)
        hdu.add_checksum(when="of this HDU")
        with atomic_path(self.save_path()) as partial:
            hdu.writeto(partial, output_verify="exception")
