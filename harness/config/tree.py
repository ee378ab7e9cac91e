"""Every section and key of a configuration."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from agents.container.limits import ContainerLimits
from agents.evidence.config import EvidenceConfig
from agents.pool import RECORD, ModelConfig
from agents.runner import AgentConfig
from agents.strict_model import StrictModel
from harness.config.selection import Selection, SelectionError, ids_term
from harness.docker.engine import LEAST_DISK_GB
from harness.files import expand_home, expand_variables


def _with_variables(path: Path, info: ValidationInfo) -> Path:
    return path if info.context == RECORD else expand_variables(path)


UserPath = Annotated[Path, AfterValidator(_with_variables), AfterValidator(expand_home)]
"""A path in which a leading `~` is the user's home folder and `$NAME` an environment variable."""

DEFAULT_POLICIES = ["auto", "cluster"]
"""Policies that are evaluated when none is named: the one to use, and clusters of issue texts beside it."""


class DatasetConfig(StrictModel):
    name: str
    """`sample`, a dataset of the Hugging Face hub, a .json, .jsonl or .parquet file, or a task repo."""
    split: str = "test"
    """Split of the dataset."""
    scripts: str | None = None
    """For rows made before swebench 5: the current rows (a name or path as in `name`) that provide each eval_script."""
    select: list[str] = []
    """Terms of `--select` that choose instances, such as `[repo=django/*, sample=50@7]`. Empty means all instances."""
    exclude: list[str] = []
    """Instance ids to leave out."""

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
            if type(limit) is not int or limit < 1:
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
    """Library that computes the embeddings; onnx and openvino need the sentence-transformers extra of the same name."""
    device: str | None = None
    """Device that computes the embeddings, such as `cpu` or `cuda:1`. None lets sentence-transformers choose."""
    trust_embedder: bool = False
    """Load any embedder that the checkpoint names; if false, only the default one or `embedder`."""
    checkpoint: UserPath | None = None
    """A fitted router to route with (mode `routed`)."""
    params: dict[str, Any] = {}
    """Parameters of the policies, e.g. `{n_clusters: 5}`; each policy uses those that it has."""
    corpus: str | None = None
    """General texts to learn clusters from in place of the issues: a .jsonl file, a folder of them, or a hub name."""
    drop_leaks: bool = False
    """Drop texts of the corpus that reveal the instances instead of stopping."""
    folds: int = Field(default=10, ge=2)
    """Folds of the cross-fitted evaluation."""
    repeats: int = Field(default=10, ge=1)
    """Number of repeats of the cross-fitting, each with new folds."""
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
    """Head node, such as `10.0.0.1:6379` or `auto`. None starts Ray on this machine."""
    agent_cpus: float = Field(default=0.25, gt=0)
    """CPUs reserved for an agent on its node. An agent mostly waits for its model."""
    grading_cpus: float = Field(default=1, gt=0)
    """CPUs reserved for a grading on its node."""
    patience: float = Field(default=300, ge=0)
    """Seconds to wait for a usable node when none is left, before the run ends."""


class Engine(StrEnum):
    """Where cells run; each has its module in `harness.run.engines`."""

    LOCAL = "local"
    RAY = "ray"


class RunConfig(StrictModel):
    mode: Literal["matrix", "routed"] = "matrix"
    """`matrix` runs every model on every instance; `routed` runs only the model the checkpoint picks."""
    repeats: int = Field(default=1, ge=1)
    """Attempts of every model at every instance, in mode `matrix`. Several attempts show how much of a difference is
    luck. Attempts can be added later."""
    agent_workers: int = Field(default=4, ge=1)
    """Number of agents at the same time."""
    grading_workers: int = Field(default=2, ge=1)
    """Number of gradings at the same time."""
    grading_timeout: int = Field(default=1800, ge=1)
    """Time limit for an instance's tests, in seconds (the official default is 1800)."""
    grading_limits: ContainerLimits = ContainerLimits(memory="16g", pids=16_384, disk_gb=50)
    """Resource limits of a grading's container. They are generous, because hitting a limit changes a verdict."""
    grading_network: str | None = None
    """Docker network of gradings. None is the engine's default, as with the official harness; a graded patch can then
    reach the network, the host's services and other gradings. `none` prevents this, but tests that need a network then
    fail."""
    grading_capabilities: list[str] = []
    """Linux capabilities of gradings beyond Docker's default ones. The official harness gives `SYS_ADMIN`. A
    browser's sandbox needs it (openlayers), but with it a patch can become root on the host."""
    grading_attempts: int = Field(default=3, ge=1)
    """Maximum number of tries for a grading that fails because of the infrastructure."""
    agent_attempts: int = Field(default=2, ge=1)
    """Maximum number of tries for a cell whose container or engine is lost."""
    engine_patience: float = Field(default=120, ge=0)
    """Seconds to wait for a Docker Engine that has stopped answering, before the run ends."""
    max_cost: float | None = Field(default=None, gt=0)
    """Soft limit in USD. No further cell starts once the money spent plus the expected cost of the cells in flight
    would exceed it. Cells in flight finish within their own limits."""
    max_cost_hard: float | None = Field(default=None, gt=0)
    """Hard limit in USD. No call is made once it is spent. Calls in flight are finished; their cells start again when
    you rerun the command."""
    images_gb: float | None = Field(default=None, gt=0)
    """GB of images to keep, counting those that the run pulls and those made to hide later history. Beyond it, images
    are removed after their last cell, the longest idle first. None keeps all."""
    pull_workers: int = Field(default=2, ge=1)
    """Number of images pulled at the same time, before they are needed."""
    pull_attempts: int = Field(default=6, ge=1)
    """Maximum number of tries for a pull that a rate limit or a failing registry stops."""
    pull_wait: float = Field(default=2, ge=0)
    """Seconds before a pull is retried. The wait doubles each time, up to five minutes."""
    least_disk_gb: float = Field(default=LEAST_DISK_GB, ge=0)
    """Minimum free space in GB where the run and the engine write; below it, no cell is started."""
    callbacks: list[str] = []
    """LiteLLM callbacks that receive every call, such as `langfuse_otel`, with run, instance, model and attempt as
    metadata. They send the conversations to the service that their own environment variables name."""
    engine: Engine = Engine.LOCAL
    """Where the cells run: on this machine, or on the nodes of a Ray cluster (extra `ray`)."""
    ray: RayConfig = RayConfig()
    """The cluster, for `engine: ray`."""


class PredictionsConfig(StrictModel):
    model: str
    """The pool entry that these attempts belong to."""
    source: str
    """File or folder that the patches were read from."""
    format: str
    """Its format, such as `plain` or `openhands`."""
    sha256: str
    """SHA-256 of the file, or of all patches if each has its own file."""
    predictions: int
    """Number of its patches that are graded."""
    instances: int
    """Number of instances to grade."""
    missing: int
    """Number of these for which no source has a prediction of the model; they have no verdict."""
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
    evidence: EvidenceConfig | None = None
    """Evidence on finished attempts that policies such as `select` choose by. None gathers none."""
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
        self._check_evidence(names)
        return self

    def _check_evidence(self, names: list[str]) -> None:
        evidence = self.evidence
        if evidence is None:
            return
        if self.predictions:
            raise ValueError("evidence: not for attempts that were made elsewhere")
        if not (evidence.writers or evidence.own_tests or evidence.existing_tests):
            raise ValueError("evidence: nothing to gather; name writers, or set own_tests or existing_tests")
        for key, wanted in (("writers", evidence.writers), ("judge", [evidence.judge] if evidence.judge else [])):
            if missing := [name for name in wanted if name not in names]:
                raise ValueError(f"evidence.{key}: {missing[0]!r} is not in the pool: add an entry of that name")
        if twice := [name for name in evidence.writers if evidence.writers.count(name) > 1]:
            raise ValueError(f"evidence.writers: {twice[0]!r} is named twice")
        if evidence.judge and not evidence.existing_tests:
            raise ValueError("evidence.judge: it judges existing tests alone; set existing_tests: true or leave it out")

    def _repeated(self) -> str:
        """The setting that asks for several attempts; empty without any."""
        if self.run.repeats > 1:
            return f"run.repeats is {self.run.repeats}"
        several = (model for model in self.pool if (model.repeats or 1) > 1)
        return next((f"model {model.name} has repeats: {model.repeats}" for model in several), "")
