"""The official harness without what a grading never uses: Hugging Face's datasets and Modal's cloud, of its two seconds
of importing well over one."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

UNUSED = ("datasets", "swebench.harness.modal_eval")
"""What `swebench.harness.run_evaluation` imports to fetch instances, and to grade elsewhere than here."""


class _Unused(ModuleType):
    """Has every name asked for, and refuses its use."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*_: object, **__: object) -> None:
            raise RuntimeError(f"{self.__name__}.{name} is not there in a grading process")

        return type(name, (), {"__new__": refuse})


def import_official_harness() -> None:
    """For a process that only grades: afterwards the unused modules cannot be imported in it."""
    for name in UNUSED:
        sys.modules.setdefault(name, _Unused(name))
    import swebench.harness.run_evaluation  # noqa: F401
