"""Fuzz targets (atheris), their seeds, and what they found."""
