"""What differs between the base and the new side beside the models: named, so that nobody takes it for their doing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.config import Config
from harness.data.instances import Instance
from harness.store.run_folder import RunFolder

GRADERS = ("swebench", "mini-swe-agent")
"""Packages on whose version verdicts may depend."""
SHOWN = 8


def other_versions(fingerprints: Mapping[str, str], instances: Sequence[Instance]) -> list[str]:
    """Ids of instances whose text or tests are others than the base recorded; a file of outcomes records none."""
    return [
        instance.instance_id
        for instance in instances
        if fingerprints.get(instance.instance_id, instance.fingerprint) != instance.fingerprint
    ]


def other_settings(base: Path, config: Config) -> list[str]:
    """A line each for the settings and the packages that differ from the base's, where that is a run folder."""
    if not (base / "run.yaml").is_file() or RunFolder(base).is_part:
        return []
    frozen = RunFolder(base).read_manifest()
    notes = []
    # what is None is left out of a manifest
    old, new = dict(_flat(frozen["config"].get("agent", {}))), dict(_flat(config.model_dump(mode="json")["agent"]))
    changed = [
        f"{key} {_value(old, key)} → {_value(new, key)}" for key in sorted(old | new) if old.get(key) != new.get(key)
    ]
    if changed:
        more = f", and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        notes.append(f"the agent's settings differ from the base's: {', '.join(changed[:SHOWN])}{more}")
    recorded = frozen.get("versions", {})
    renewed = [name for name in GRADERS if recorded.get(name, version(name)) != version(name)]
    packages = [f"{name} {recorded[name]} → {version(name)}" for name in renewed]
    if packages:
        notes.append(f"other versions than the base's: {', '.join(packages)}")
    return notes


def _flat(values: Mapping[str, Any], prefix: str = "agent") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}.{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        else:
            yield name, value


def _value(values: Mapping[str, Any], key: str) -> str:
    text = str(values.get(key)).replace("\n", " ")
    return text if len(text) <= 40 else text[:39] + "…"
