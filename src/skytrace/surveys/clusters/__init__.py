"""Surveys of galaxy clusters: what one is (interface), the built-in mock, and FITS mosaics with a catalogue."""
