"""Every section and key of a configuration."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from agents.container.limits import ContainerLimits
from agents.pool import ModelConfig
from agents.runner import AgentConfig
from harness.docker.engine import LEAST_DISK_GB
from harness.files import expand_home
from harness.selection import Selection, SelectionError, ids_term

UserPath = Annotated[Path, AfterValidator(expand_home)]
"""A path in which a leading `~` is the user's home folder."""

DEFAULT_POLICIES = ["auto", "cluster"]
"""Policies that are evaluated when none is named: the one to use, and clusters of issue texts beside it."""


class StrictModel(BaseModel):
    """Every part refuses keys it does not know: a misspelt limit must not be silently ignored."""

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


class DatasetConfig(StrictModel):
    name: str
    """`sample`, a dataset of the Hugging Face hub, a .json, .jsonl or .parquet file, or a task repo."""
    split: str = "test"
    """Split of the dataset."""
    scripts: str | None = None
    """For rows made before swebench 5: current rows (a name or path as in `name`) to take each eval_script from."""
    select: list[str] = []
    """Only some instances, by the terms of `--select`, such as `[repo=django/*, sample=50@7]` (all when empty)."""
    exclude: list[str] = []
    """Never these instance ids."""

    @model_validator(mode="before")
    @classmethod
    def _earlier_keys(cls, data: Any) -> Any:
        """`instances` and `limit`, as earlier versions called parts of `select`; a single term need not be a list."""
        if isinstance(data, dict) and isinstance(data.get("select"), str):
            data = {**data, "select": [data["select"]]}
        if not isinstance(data, dict) or not {"instances", "limit"} & data.keys():
            return data
        data = dict(data)
        instances, limit = data.pop("instances", None), data.pop("limit", None)
        terms = list(data.get("select") or [])
        if instances is not None:
            if not isinstance(instances, list) or not instances:
                raise ValueError("instances: expected a list of ids that is not empty; now select: [id=A|B]")
            terms.append(ids_term(map(str, instances)))
        if limit is not None:
            if not isinstance(limit, int) or limit < 1:
                raise ValueError("limit: expected a whole number above 0; now select: [slice=0:20]")
            terms.append(f"slice=0:{limit}")
        return {**data, "select": terms}

    @field_validator("select")
    @classmethod
    def _readable(cls, value: list[str]) -> list[str]:
        try:
            Selection.parse(value)
        except SelectionError as error:
            raise ValueError(str(error)) from error
        return value


class RouterConfig(StrictModel):
    policy: list[str] = Field(default=DEFAULT_POLICIES, min_length=1)
    """Short names of the routing policies to evaluate; one name may stand alone."""
    embedder: str = "all-MiniLM-L6-v2"
    """Any sentence-transformers model: a hub name or a path."""
    backend: Literal["torch", "onnx", "openvino"] = "torch"
    """What computes the embeddings; onnx and openvino need the extra of sentence-transformers of that name."""
    device: str | None = None
    """Where they are computed, such as `cpu` or `cuda:1`; None leaves the choice to sentence-transformers."""
    trust_embedder: bool = False
    """Load the embedder that the checkpoint names, whatever it is; else only the default one, or `embedder`."""
    checkpoint: UserPath | None = None
    """A fitted router to route with (mode `routed`)."""
    params: dict[str, Any] = {}
    """Parameters of the policies, e.g. `{n_clusters: 5}`; each policy takes those it has."""
    folds: int = Field(default=10, ge=2)
    """Folds of the cross-fitted evaluation."""
    repeats: int = Field(default=10, ge=1)
    """How often the folds are drawn anew."""
    seed: int = 0
    """Seed of folds, clusters and resampling."""

    @field_validator("policy", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

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
    repeats: int = Field(default=1, ge=1)
    """Attempts of every model at every instance, in mode `matrix`. Several show how much of a difference is luck; more
    of them can be added later."""
    agent_workers: int = Field(default=4, ge=1)
    """Agents at work at the same time."""
    grading_workers: int = Field(default=2, ge=1)
    """Gradings at the same time."""
    grading_timeout: int = Field(default=1800, ge=1)
    """Seconds an instance's tests may take (the official default is 1800)."""
    grading_limits: ContainerLimits = ContainerLimits(memory="16g", pids=16_384, disk_gb=50)
    """What a grading's container may take of the machine; wide, for a limit that strikes changes a verdict."""
    grading_network: str | None = None
    """Docker network of gradings. None is the engine's default, as with the official harness: a patch that is graded
    then reaches the network, the host's services and other gradings. `none` closes all that; tests that need a network
    fail with it."""
    grading_capabilities: list[str] = []
    """Linux capabilities of gradings beyond Docker's default ones. The official harness gives `SYS_ADMIN`, which a
    browser's sandbox needs (openlayers), and with which a patch can become root on the host."""
    grading_attempts: int = Field(default=3, ge=1)
    """How often a grading is tried when the failure was the infrastructure's."""
    agent_attempts: int = Field(default=2, ge=1)
    """How often a cell is tried when its agent's container or the engine went away under it."""
    engine_patience: float = Field(default=120, ge=0)
    """Seconds to wait for a Docker Engine that has stopped answering, before the run ends."""
    max_cost: float | None = Field(default=None, gt=0)
    """USD. No cell starts once what is spent and what the cells in flight are expected to cost would pass it; cells in
    flight finish within their own limits."""
    max_cost_hard: float | None = Field(default=None, gt=0)
    """USD. No call is made once so much is spent; calls in flight are finished, and their cells begin anew at the next
    start."""
    images_gb: float | None = Field(default=None, gt=0)
    """GB of images to keep of those that the run pulls, and of those made to hide later history; older ones go after
    their last cell. None keeps all."""
    pull_workers: int = Field(default=2, ge=1)
    """Images pulled at the same time, ahead of need."""
    pull_attempts: int = Field(default=6, ge=1)
    """How often a pull is tried that a rate limit or a failing registry has stopped."""
    pull_wait: float = Field(default=2, ge=0)
    """Seconds before a pull is tried again; they double each time, up to five minutes."""
    least_disk_gb: float = Field(default=LEAST_DISK_GB, ge=0)
    """Free space, where the run and the engine write, below which no cell is started."""
    callbacks: list[str] = []
    """LiteLLM's callbacks that are shown every call, such as `langfuse_otel`, with run, instance, model and attempt as
    metadata. They send the conversations to the service that their own environment variables name."""
    engine: Engine = Engine.LOCAL
    """Where the cells run: on this machine, or on the nodes of a Ray cluster (extra `ray`)."""
    ray: RayConfig = RayConfig()
    """The cluster, for `engine: ray`."""


class PredictionsConfig(StrictModel):
    model: str
    """The pool's entry whose attempts these are."""
    source: str
    """File or folder that the patches were read from."""
    format: str
    """Its format, such as `plain` or `openhands`."""
    sha256: str
    """Of the file, or of all patches where each has a file of its own."""
    predictions: int
    """How many of its patches are graded."""
    instances: int
    """How many instances were to be graded."""
    missing: int
    """For how many of these no source has a prediction of the model: they have no verdict."""
    agent: str = ""
    """What made the attempts, where the source states it."""


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
    predictions: list[PredictionsConfig] = []
    """Written by `polyswe grade`: where the attempts come from, which polyswe did not make."""

    @model_validator(mode="after")
    def _sound(self) -> Config:
        names = [model.name for model in self.pool]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"pool: the name {twice[0]!r} is used twice; give each entry a name of its own")
        if self.run.mode == "routed" and self.router.checkpoint is None:
            raise ValueError("run.mode 'routed' needs router.checkpoint; make one with 'polyswe fit'")
        if self.run.mode == "routed" and (several := self._repeated()):
            raise ValueError(
                f"run.mode 'routed' makes one attempt per instance, but {several}: set it to 1, or run mode 'matrix'"
            )
        if self.agent.reviewer is not None and self.agent.reviewer not in (model.name for model in self.pool):
            raise ValueError(f"agent.reviewer {self.agent.reviewer!r} is not in the pool: add an entry of that name")
        return self

    def _repeated(self) -> str:
        """The setting that asks for several attempts; empty without any."""
        if self.run.repeats > 1:
            return f"run.repeats is {self.run.repeats}"
        several = (model for model in self.pool if (model.repeats or 1) > 1)
        return next((f"model {model.name} has repeats: {model.repeats}" for model in several), "")
