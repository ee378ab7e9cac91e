"""What every command shares: a line on stderr, and libraries that keep quiet."""

from __future__ import annotations

import os
import sys


def say(message: str) -> None:
    """One line for the user, on stderr (standard output is the result's)."""
    print(f"polyswe: {message}", file=sys.stderr)


def quiet_libraries() -> None:
    """Settings that libraries read when they are imported: no chatter, no look-ups nobody asked for."""
    for name, value in {
        "MSWEA_SILENT_STARTUP": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }.items():
        os.environ.setdefault(name, value)
