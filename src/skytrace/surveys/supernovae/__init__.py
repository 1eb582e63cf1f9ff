"""Sources of supernovae: simulated, from tables, from SNANA files, and the download of published ones."""
