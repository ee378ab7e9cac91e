"""Rotation and retention of log files."""

from rotator.archives import Archive, scan
from rotator.retention import RetentionPolicy, prune, select_expired
from rotator.rotation import Rotator

__all__ = ["Archive", "RetentionPolicy", "Rotator", "prune", "scan", "select_expired"]
