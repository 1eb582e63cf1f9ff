"""Spectra of supernovae: what is observed, how it is brought to one grid, and the features measured on it."""
