"""Sources of observed spectra: the HST epochs of SN 2011fe, and a user's own text, ECSV or FITS file."""
