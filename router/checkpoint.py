"""A fitted router as one file: safetensors arrays and a JSON header. No pickle, so a foreign file can run no code."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Self, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from router.embedding import TextEmbedder
from router.memory import ClusterNote
from router.policies import UnknownPolicyError, make_policy
from router.policy import FittedArrays, Policy, PolicyParameterError

SCHEMA = 1
"""Version of the layout that is written, and the newest that is read."""
MAX_BYTES = 2**30
"""A larger file is no checkpoint: 500 remembered instances take one or two MB."""
MAX_HEADER = 2**25
"""Characters of the JSON header: 100,000 instances take some four million."""
MAX_MODELS = 1000
"""Of a pool."""
_KEY = "polyswe.router"


class CheckpointError(ValueError):
    """The file is no router checkpoint, or not one this installation can use; the message names file and mend."""


class UntrustedEmbedderError(CheckpointError):
    """The checkpoint names an embedder that nobody here has asked for."""


class RoutedModel(BaseModel):
    """A model of the pool as the checkpoint remembers it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=300)
    """unique name in the pool"""
    mean_cost_usd: float | None = None
    """mean USD per training instance, None when unknown"""
    input_cost_per_token: float | None = None
    """price in USD"""
    output_cost_per_token: float | None = None
    """price in USD"""


class Header(BaseModel):
    """Everything of a checkpoint that is not an array."""

    # an infinite λ is a parameter like any other
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    schema_: int = SCHEMA
    """version of this layout"""
    policy: str
    """short name of the policy"""
    params: dict[str, Any]
    """the policy's parameters"""
    models: tuple[RoutedModel, ...] = Field(min_length=1, max_length=MAX_MODELS)
    """the pool, in the order of the arrays' columns"""
    embedder: str = Field(max_length=4096)
    """name or path the embedder was loaded by"""
    fingerprint: str
    """the embedder's fingerprint: another embedder's vectors mean nothing to the arrays"""
    provenance: dict[str, Any] = {}
    """where the training data come from, versions, seed, date: as the fitter wrote it"""
    figures: dict[str, Any] = {}
    """held-out figures of this policy, as the fitter measured them"""
    instances: tuple[str, ...] = ()
    """ids of the training instances that the memory holds"""
    clusters: tuple[ClusterNote, ...] = ()
    """the memory's clusters"""
    own_clusters: bool = False
    """whether the policy decides by them"""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ValueError("two models have one name")
        if any(note.rates.keys() != set(names) or note.counts.keys() != set(names) for note in self.clusters):
            raise ValueError("a cluster's rates and counts are not those of the models")
        return self


def write_checkpoint(path: Path | str, header: Header, arrays: FittedArrays) -> None:
    """Write the file in one step: a reader sees the old file or the new one, never a part of one."""
    path = Path(path)
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = save(tensors, metadata={_KEY: header.model_dump_json(), "schema": str(header.schema_)})
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read_checkpoint(path: Path | str) -> tuple[Header, FittedArrays]:
    """Header and arrays of a checkpoint, without touching the embedder. Raises CheckpointError."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; write one with `polyswe fit`")
    if path.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{path}: larger than {MAX_BYTES:,} bytes, which no router checkpoint is")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, TypeError) as error:  # TypeError: numbers that numpy does not have, such as bfloat16
        raise CheckpointError(f"{path}: not a router checkpoint ({error}); write one with `polyswe fit`") from error
    if any(array.dtype.kind not in "biuf" for array in arrays.values()):
        raise CheckpointError(f"{path}: its arrays are not all of real numbers; fit it again")
    if _KEY not in metadata or not re.fullmatch(r"[0-9]{1,9}", metadata.get("schema", "")):
        raise CheckpointError(f"{path}: a safetensors file, but not a router checkpoint; write one with `polyswe fit`")
    if int(metadata["schema"]) > SCHEMA:
        raise CheckpointError(
            f"{path}: written by a newer polyswe (schema {metadata['schema']}, this one reads up to {SCHEMA}); upgrade"
        )
    if len(metadata[_KEY]) > MAX_HEADER:
        raise CheckpointError(f"{path}: a header of more than {MAX_HEADER:,} characters; fit it again")
    try:
        return Header.model_validate_json(metadata[_KEY]), arrays
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(f"{path}: damaged header ({place}: {first['msg']}); fit it again") from error


def restore_policy(path: Path | str, header: Header, arrays: FittedArrays) -> Policy:
    """The fitted policy of a checkpoint. Raises CheckpointError."""
    try:
        policy = make_policy(header.policy, **header.params)
        _check_params(policy)
        return policy.restore(tuple(model.name for model in header.models), arrays)
    except (UnknownPolicyError, PolicyParameterError) as error:
        raise CheckpointError(f"{path}: {error}; upgrade polyswe or fit it again") from error


def _check_params(policy: Policy) -> None:
    """PolicyParameterError unless every parameter has its field's type, and the weights are weights."""
    types = get_type_hints(type(policy))
    for name, value in policy.get_params().items():
        try:
            TypeAdapter(types[name], config=ConfigDict(strict=True)).validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise PolicyParameterError(f"policy {policy.name!r}: parameter {name!r}: {reason}") from error
        if name in ("cost_weight", "time_weight") and not value >= 0:
            raise PolicyParameterError(f"policy {policy.name!r}: parameter {name!r} must be a number >= 0")


def check_embedder(path: Path | str, header: Header, embedder: TextEmbedder) -> None:
    """CheckpointError unless `embedder` is the one the checkpoint was fitted with."""
    if embedder.fingerprint != header.fingerprint:
        raise CheckpointError(
            f"{path}: fitted on embeddings of {header.embedder!r} ({header.fingerprint[:12]}…), but {embedder.name!r} "
            f"is another model ({embedder.fingerprint[:12]}…); use that embedder or fit the router again"
        )
