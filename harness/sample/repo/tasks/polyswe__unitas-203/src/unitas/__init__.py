"""Exact quantities: parsing, conversion and rendering."""

from .errors import DimensionError, ParseError, UnitasError, UnknownUnitError
from .grammar import parse
from .quantity import Quantity
from .registry import Dimension, Registry, Unit, default_registry
from .render import render

__all__ = [
    "Dimension",
    "DimensionError",
    "ParseError",
    "Quantity",
    "Registry",
    "Unit",
    "UnitasError",
    "UnknownUnitError",
    "default_registry",
    "parse",
    "render",
]
