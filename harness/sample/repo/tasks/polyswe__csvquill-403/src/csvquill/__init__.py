"""Queries over CSV files."""

__version__ = "1.0"
