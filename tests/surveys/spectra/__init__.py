"""Tests of skytrace.surveys.spectra."""
