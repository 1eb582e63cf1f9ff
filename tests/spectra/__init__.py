"""Tests of skytrace.spectra."""
