"""A run for other tools: a table (CSV, Parquet), logs of Inspect, runs of MLflow."""

from __future__ import annotations
