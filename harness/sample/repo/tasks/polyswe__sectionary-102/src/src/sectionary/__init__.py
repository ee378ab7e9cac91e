"""Configuration files with sections that inherit from one another."""

from .config import Config
from .errors import ConfigError, CycleError, LookupFailedError, ParseError

__all__ = ["Config", "ConfigError", "CycleError", "LookupFailedError", "ParseError"]
