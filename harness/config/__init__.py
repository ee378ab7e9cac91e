"""One YAML file → one tree of pydantic models. Unknown keys are refused with the nearest valid name.

The pool's and the agent's parts are the `agents` package's own models, so that a setting is described once.
"""

from agents.strict_model import StrictModel
from harness.config.explain import explain
from harness.config.load import CONFIGS, find_config, load_config, parse_settings, with_models, with_overrides
from harness.config.tree import (
    Config,
    DatasetConfig,
    OutConfig,
    PredictionsConfig,
    RayConfig,
    RouterConfig,
    RunConfig,
)

__all__ = [
    "CONFIGS",
    "Config",
    "DatasetConfig",
    "OutConfig",
    "PredictionsConfig",
    "RayConfig",
    "RouterConfig",
    "RunConfig",
    "StrictModel",
    "explain",
    "find_config",
    "load_config",
    "parse_settings",
    "with_models",
    "with_overrides",
]
