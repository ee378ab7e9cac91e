"""A configuration from its file and the command line, with faults named by line and key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.config.explain import explain, faults
from harness.config.tree import Config
from harness.errors import ConfigError
from harness.files import YamlError, parse_yaml, why_unread, yaml_lines

CONFIGS = Path(__file__).parents[1] / "configs"
"""Configurations that come with the product; `polyswe evaluate sample` names one by its stem."""


def find_config(name: str) -> Path:
    """The file behind `polyswe evaluate NAME`: a path, or the stem of a configuration that comes with the product.

    Raises:
        ConfigError: when there is no such file, with the names that exist.
    """
    path = Path(name)
    if path.is_file():
        return path
    built_in = CONFIGS / f"{name}.yaml"
    if built_in.is_file():  # also where a folder has this name, as in results/
        return built_in
    if path.is_dir():
        mend = "name a YAML file; a run continues with the command that began it"
        raise ConfigError(f"configuration {name}: a folder; {mend}")
    if path.suffix in (".yaml", ".yml") or path.exists():
        raise ConfigError(f"configuration {name}: no such file")
    known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.yaml")))
    raise ConfigError(f"configuration {name!r} is neither a file nor one of: {known}")


def load_config(path: Path) -> Config:
    """Read and validate one YAML file.

    Raises:
        ConfigError: unreadable file, unknown keys (with the nearest valid name), missing keys, impossible values;
            all faults of the file in one message.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = parse_yaml(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {path}: cannot be read ({why_unread(error)})") from error
    except YamlError as error:
        raise ConfigError(f"configuration {path}: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"configuration {path}: expected keys like 'dataset:' and 'pool:' at the top level")
    if isinstance(data.get("config"), dict) and "versions" in data:
        began = "polyswe grade PREDICTIONS…" if data["config"].get("predictions") else "polyswe evaluate"
        raise ConfigError(
            f"configuration {path}: the record of a run; continue it with the command that began it ({began})"
        )
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        lines = yaml_lines(text)
        located = sorted((_line_of(fault.place, lines), str(fault)) for fault in faults(error))
        messages = [f"line {line}: {message}" if line else message for line, message in located]
        start = ": " if len(messages) == 1 else ":\n  "
        raise ConfigError(f"configuration {path}{start}" + "\n  ".join(messages)) from error


def with_overrides(config: Config, changes: Mapping[str, object]) -> Config:
    """The configuration with values put at dotted keys, such as `{"run.max_cost": 50}`.

    An entry of the pool is named by its name or its place: `pool.sonnet.step_limit`, `pool.0.step_limit`.

    Raises:
        ConfigError: a key does not exist, or the result is not a valid configuration.
    """
    data = config.model_dump()
    for key, value in changes.items():
        _put(data, key, value)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error)) from error


def with_models(config: Config, names: Sequence[str]) -> Config:
    """The configuration with only these models of its pool, in the pool's order.

    Raises:
        ConfigError: the reviewer, a test writer or the judge is left out.
    """
    if config.agent.reviewer is not None and config.agent.reviewer not in names:
        raise ConfigError(
            f"--model leaves out {config.agent.reviewer}, which is agent.reviewer: name it, too, or --set "
            "agent.reviewer=null"
        )
    evidence = config.evidence
    needed = [*evidence.writers, *([evidence.judge] if evidence.judge else [])] if evidence else []
    if left_out := [name for name in needed if name not in names]:
        raise ConfigError(
            f"--model leaves out {left_out[0]}, which evidence needs: name it, too, or --set evidence=null"
        )
    return config.model_copy(update={"pool": [entry for entry in config.pool if entry.name in names]})


def parse_settings(texts: Sequence[str]) -> dict[str, object]:
    """`KEY=VALUE` texts, as `--set` takes them, by key; values are YAML.

    Raises:
        ConfigError: a text has no `=`, a key is given twice, or a value is not valid YAML.
    """
    settings: dict[str, object] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {text}: expected KEY=VALUE, such as run.max_cost=50")
        if key.strip() in settings:
            raise ConfigError(f"--set {key.strip()}: given twice")
        try:
            settings[key.strip()] = parse_yaml(value)
        except YamlError as error:
            raise ConfigError(f"--set {text}: {error}") from error
    return settings


def _put(data: dict[str, Any], key: str, value: object) -> None:
    """Put a value at a dotted key of nested dicts and lists."""
    *parents, last = key.split(".")
    place: Any = data
    for part in parents:
        if isinstance(place, list):
            place = _entry(place, part, key)
        else:
            place[part] = {} if place.get(part) is None else place[part]  # a section may be absent
            place = place[part]
        if not isinstance(place, dict | list):
            raise ConfigError(f"unknown key '{key}': {part!r} holds a value, no further keys")
    if isinstance(place, list):
        raise ConfigError(f"key '{key}': name a setting of the entry, such as {key}.step_limit")
    place[last] = value


def _entry(entries: list[Any], name: str, key: str) -> Any:
    """A list's entry by its name or its place."""
    for place, entry in enumerate(entries):
        if name == str(place) or (isinstance(entry, dict) and entry.get("name") == name):
            return entry
    names = ", ".join(str(entry.get("name")) for entry in entries if isinstance(entry, dict))
    raise ConfigError(f"key '{key}': no entry {name!r}; there are: {names}")


def _line_of(place: tuple[int | str, ...], lines: Mapping[tuple[int | str, ...], int]) -> int:
    """The line of a place, or of the nearest part of the tree around it that the file has; 0 for none."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 0)
