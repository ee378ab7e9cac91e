"""The sample's images, built on this machine without any image registry; each is built once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tqdm import tqdm

from harness.errors import ImageUnavailableError
from harness.sample import TASK_REPO
from harness.sample.base_image import BASE_IMAGE, RECIPE, ensure_base

if TYPE_CHECKING:
    from docker import DockerClient

CONTEXT_LABEL = "polyswe.context"
"""Hash of what an image was built from: an image of an older version of the sample is built anew."""


class SampleInstance(Protocol):
    """What building needs to know of an instance."""

    @property
    def instance_id(self) -> str: ...
    @property
    def image(self) -> str: ...


def build_images(client: DockerClient, instances: Sequence[SampleInstance], *, workers: int = 4) -> int:
    """Build the images that are missing or out of date; returns how many were built.

    Raises:
        ImageUnavailableError: the base or an image cannot be built.
    """
    missing = [instance for instance in instances if not _up_to_date(client, instance)]
    if not missing:
        return 0
    ensure_base(client)
    with ThreadPoolExecutor(workers) as pool:
        built = pool.map(lambda instance: _build(client, instance), missing)
        for _ in tqdm(built, total=len(missing), desc="building the sample's images", unit="image"):
            pass
    return len(missing)


def _task_dir(instance: SampleInstance) -> Path:
    return TASK_REPO / "tasks" / instance.instance_id


def _context_hash(instance: SampleInstance) -> str:
    digest = hashlib.sha256(RECIPE.encode())
    task = _task_dir(instance)
    for path in [task / "Dockerfile", *sorted(p for p in (task / "src").rglob("*") if _is_source(p))]:
        digest.update(str(path.relative_to(task)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _up_to_date(client: DockerClient, instance: SampleInstance) -> bool:
    import docker

    try:
        image = client.images.get(instance.image)
    except docker.errors.ImageNotFound:
        return False
    return bool(image.labels.get(CONTEXT_LABEL) == _context_hash(instance))


def _build(client: DockerClient, instance: SampleInstance) -> None:
    import docker

    try:
        client.images.build(
            path=str(_task_dir(instance)),
            tag=instance.image,
            labels={CONTEXT_LABEL: _context_hash(instance)},
            rm=True,
            forcerm=True,
        )
    except (docker.errors.BuildError, docker.errors.APIError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ImageUnavailableError(
            f"image {instance.image} (from {BASE_IMAGE}) cannot be built: {reason}; "
            "see 'docker info' and the disk's free space"
        ) from error
