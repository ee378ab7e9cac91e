"""One YAML file → one tree of pydantic models. Unknown keys are refused with the nearest valid name.

The pool's and the agent's parts are the `agents` package's own models, so that a setting is described once.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from agents.container.limits import ContainerLimits
from agents.pool import ModelConfig
from agents.runner import AgentConfig
from harness.docker.engine import LEAST_DISK_GB
from harness.errors import ConfigError
from harness.files import YamlError, expand_home, parse_yaml

CONFIGS = Path(__file__).parent / "configs"
"""Configurations that come with the product; `polyswe evaluate sample` names one by its stem."""


UserPath = Annotated[Path, AfterValidator(expand_home)]
"""A path in which a leading `~` is the user's home folder."""


class StrictModel(BaseModel):
    """Every part refuses keys it does not know: a misspelt limit must not be silently ignored."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), hide_input_in_errors=True)


class DatasetConfig(StrictModel):
    name: str
    """`sample`, a dataset of the Hugging Face hub, a .json, .jsonl or .parquet file, or a task repo."""
    split: str = "test"
    """Split of the dataset."""
    scripts: str | None = None
    """For rows made before swebench 5: current rows (a name or path as in `name`) to take each eval_script from."""
    instances: list[str] | None = Field(default=None, min_length=1)
    """Only these instance ids (all when absent)."""
    exclude: list[str] = []
    """Never these instance ids."""
    limit: int | None = Field(default=None, gt=0)
    """Only the first so many instances, in the dataset's order."""


class RouterConfig(StrictModel):
    policy: str = "cluster"
    """Short name of the routing policy."""
    embedder: str = "all-MiniLM-L6-v2"
    """Any sentence-transformers model: a hub name or a path."""
    backend: Literal["torch", "onnx", "openvino"] = "torch"
    """What computes the embeddings; onnx and openvino need the extra of sentence-transformers of that name."""
    device: str | None = None
    """Where they are computed, such as `cpu` or `cuda:1`; None leaves the choice to sentence-transformers."""
    checkpoint: UserPath | None = None
    """A fitted router to route with (mode `routed`)."""
    params: dict[str, Any] = {}
    """The policy's own parameters, e.g. `{n_clusters: 5}`."""
    folds: int = Field(default=10, ge=2)
    """Folds of the cross-fitted evaluation."""
    repeats: int = Field(default=10, ge=1)
    """How often the folds are drawn anew."""
    seed: int = 0
    """Seed of folds, clusters and resampling."""

    @field_validator("embedder")
    @classmethod
    def _home(cls, value: str) -> str:
        return str(expand_home(Path(value))) if value.startswith("~") else value


class RayConfig(StrictModel):
    address: str | None = None
    """Head node, such as `10.0.0.1:6379` or `auto`. None starts a Ray of its own on this machine."""
    agent_cpus: float = Field(default=0.25, gt=0)
    """CPUs that an agent occupies on its node; it mostly waits for its model."""
    grading_cpus: float = Field(default=1, gt=0)
    """CPUs that a grading occupies on its node."""
    patience: float = Field(default=300, ge=0)
    """Seconds to wait for a node that can work, when none is left, before the run ends."""


class Engine(StrEnum):
    """Where cells run; each has its module in `harness.run.engines`."""

    LOCAL = "local"
    RAY = "ray"


class RunConfig(StrictModel):
    mode: Literal["matrix", "routed"] = "matrix"
    """`matrix` runs every model on every instance; `routed` runs only the model the checkpoint picks."""
    agent_workers: int = Field(default=4, ge=1)
    """Agents at work at the same time."""
    grading_workers: int = Field(default=2, ge=1)
    """Gradings at the same time."""
    grading_timeout: int = Field(default=1800, ge=1)
    """Seconds an instance's tests may take (the official default is 1800)."""
    grading_limits: ContainerLimits = ContainerLimits(memory="16g", pids=16_384, disk_gb=50)
    """What a grading's container may take of the machine; wide, for a limit that strikes changes a verdict."""
    grading_attempts: int = Field(default=3, ge=1)
    """How often a grading is tried when the failure was the infrastructure's."""
    agent_attempts: int = Field(default=2, ge=1)
    """How often a cell is tried when its agent's container or the engine went away under it."""
    engine_patience: float = Field(default=120, ge=0)
    """Seconds to wait for a Docker Engine that has stopped answering, before the run ends."""
    max_cost: float | None = Field(default=None, gt=0)
    """No call is made once the run has spent so many USD; calls in flight are finished."""
    images_gb: float | None = Field(default=None, gt=0)
    """GB of images to keep of those that the run pulls; older ones go after their last cell. None keeps all."""
    pull_workers: int = Field(default=2, ge=1)
    """Images pulled at the same time, ahead of need."""
    pull_attempts: int = Field(default=6, ge=1)
    """How often a pull is tried that a rate limit or a failing registry has stopped."""
    pull_wait: float = Field(default=2, ge=0)
    """Seconds before a pull is tried again; they double each time, up to five minutes."""
    least_disk_gb: float = Field(default=LEAST_DISK_GB, ge=0)
    """Free space, where the run and the engine write, below which no cell is started."""
    engine: Engine = Engine.LOCAL
    """Where the cells run: on this machine, or on the nodes of a Ray cluster (extra `ray`)."""
    ray: RayConfig = RayConfig()
    """The cluster, for `engine: ray`."""


class OutConfig(StrictModel):
    root: UserPath = Path("results")
    """Folder that holds the run folders."""
    run_id: str | None = None
    """Name of the run folder (default: the configuration's name). The same name continues the same run."""

    @field_validator("run_id")
    @classmethod
    def _plain_name(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", value):
            raise ValueError("a run id is 1-64 letters, digits, '.', '_' or '-' and starts with a letter or digit")
        return value


class Config(StrictModel):
    dataset: DatasetConfig
    """What is solved."""
    pool: list[ModelConfig] = Field(min_length=1)
    """The models, in the order the tables show them."""
    router: RouterConfig = RouterConfig()
    """How an instance's model is chosen."""
    agent: AgentConfig = AgentConfig()
    """How a model works on an instance."""
    run: RunConfig = RunConfig()
    """How the work is carried out."""
    out: OutConfig = OutConfig()
    """Where it is kept."""

    @model_validator(mode="after")
    def _sound(self) -> Config:
        names = [model.name for model in self.pool]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"pool: the name {twice[0]!r} is used twice; give each entry a name of its own")
        if self.run.mode == "routed" and self.router.checkpoint is None:
            raise ValueError("run.mode 'routed' needs router.checkpoint; make one with 'polyswe fit'")
        if self.agent.reviewer is not None and self.agent.reviewer not in (model.name for model in self.pool):
            raise ValueError(f"agent.reviewer {self.agent.reviewer!r} is not in the pool: add an entry of that name")
        return self


def find_config(name: str) -> Path:
    """The file behind `polyswe evaluate NAME`: a path, or the stem of a configuration that comes with the product.

    Raises:
        ConfigError: when there is no such file, with the names that exist.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.exists():
        if not path.is_file():
            raise ConfigError(f"configuration {name}: no such file")
        return path
    built_in = CONFIGS / f"{name}.yaml"
    if built_in.is_file():
        return built_in
    known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.yaml")))
    raise ConfigError(f"configuration {name!r} is neither a file nor one of: {known}")


def load_config(path: Path) -> Config:
    """Read and validate one YAML file.

    Raises:
        ConfigError: unreadable file, unknown keys (with the nearest valid name), missing keys, impossible values;
            all faults of the file in one message.
    """
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {path}: cannot be read ({error})") from error
    except YamlError as error:
        raise ConfigError(f"configuration {path}: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"configuration {path}: expected keys like 'dataset:' and 'pool:' at the top level")
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"configuration {path}: {explain(error)}") from error


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
        place = _entry(place, part, key) if isinstance(place, list) else place.setdefault(part, {})
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


def explain(error: ValidationError) -> str:
    """All faults of a validation error on one line, each with its place, unknown keys with the nearest valid name."""
    faults = []
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            valid = _valid_keys(fault["loc"][:-1])
            nearest = difflib.get_close_matches(str(fault["loc"][-1]), valid, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; valid keys: {', '.join(valid)}"
            faults.append(f"unknown key '{place}'{hint}")
        elif fault["type"] == "missing":
            faults.append(f"'{place}' is missing")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            faults.append(f"'{place}': {message}" if place else message)
    return " | ".join(faults)


def _valid_keys(location: tuple[int | str, ...]) -> list[str]:
    """Keys that are valid at a place of the tree, e.g. ('pool', 0) → ModelConfig's fields."""
    model: type[BaseModel] | None = Config
    for part in location:
        if isinstance(part, int) or model is None:
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        model = _model_in(annotation)
    return sorted(model.model_fields) if model else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model inside an annotation such as `list[ModelConfig]` or `RetryConfig | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if (found := _model_in(inner)) is not None:
            return found
    return None
