"""The disk that a run's images need, and whether there is enough of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.config import Config, RunConfig
from harness.config.tree import Engine
from harness.docker.engine import connect, disk_free_gb
from harness.docker.images import GB_PER_IMAGE, layer_sizes
from harness.errors import EngineUnavailableError

if TYPE_CHECKING:
    from docker import DockerClient

UNPACKED = 2.5
"""Size of an image on the disk over that of its layers in a registry."""
SAMPLED = 3
"""Manifests looked at; registries count them as pulls."""
SUGGESTED_IMAGES_GB = 50
"""Enough images for several workers; a smaller disk gets a smaller suggestion."""
LEAST_IMAGES_GB = 10
"""With less room for images a run would wait for pulls most of the time."""


def disk_needed(images: Collection[str], *, local: bool = False) -> tuple[float, int | None, str]:
    """GB that the missing ones of some images need, how many are missing, and what the figure rests on.

    Args:
        images: names of images.
        local: they are built on this machine and share nearly everything.
    """
    try:
        missing: set[str] | None = set(images) - _local_images()
    except EngineUnavailableError:
        missing = None
    wanted = sorted(images if missing is None else missing)
    count = None if missing is None else len(wanted)
    if not wanted:
        return 0.0, count, "no image is missing" if missing is not None else "no image needed"
    if local:
        return 0.5, count, "built here, sharing one base"
    sizes = _registry_sizes(wanted[:: max(1, len(wanted) // SAMPLED)][:SAMPLED])
    if sizes:
        return _unpacked(sizes, len(wanted)), count, f"manifests of {len(sizes)} of {len(wanted)} missing images"
    return len(wanted) * GB_PER_IMAGE, count, f"{GB_PER_IMAGE:g} GB for each of {len(wanted)} images assumed"


def engine_disk(client: DockerClient) -> tuple[str, float | None]:
    """Where the engine keeps its images, and the GB free there; None when that is not on this machine."""
    place = str(client.info().get("DockerRootDir") or "/")
    return place, disk_free_gb(place) if Path(place).exists() else None


def disk_shortage(run: RunConfig, *, needed_gb: float, free_gb: float) -> str:
    """What is missing on the engine's disk for a run's images, and what to do about it; empty when there is enough.

    Args:
        run: Its `images_gb` bounds what is kept at a time, its `least_disk_gb` what must stay free.
        needed_gb: All images that are missing.
        free_gb: Free space of the engine's disk.
    """
    if free_gb < run.least_disk_gb:
        return f"{free_gb:.1f} GB free, {run.least_disk_gb:g} needed to start; free space on the engine's disk"
    kept = needed_gb if run.images_gb is None else min(needed_gb, run.images_gb)
    room = free_gb - run.least_disk_gb
    if kept <= room:
        return ""
    smaller = min(SUGGESTED_IMAGES_GB, int(room))
    mend = f"set run.images_gb: {smaller}" if smaller >= LEAST_IMAGES_GB else "free space on the engine's disk"
    return f"{kept:.0f} GB needed, {free_gb:.0f} free; {mend}"


def shortage_here(config: Config, needed_gb: float) -> str:
    """The same for the engine of this machine; empty when none answers, or when a cluster keeps the images."""
    if config.run.engine is not Engine.LOCAL:
        return ""
    try:
        _, free = engine_disk(connect(timeout=10))
    except EngineUnavailableError:
        return ""
    return "" if free is None else disk_shortage(config.run, needed_gb=needed_gb, free_gb=free)


def _local_images() -> set[str]:
    import docker
    import requests

    client = connect(timeout=30)
    try:
        tags = {tag for image in client.images.list() for tag in image.tags}
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise EngineUnavailableError(f"the Docker Engine does not list its images ({type(error).__name__})") from error
    return tags | {tag.removesuffix(":latest") for tag in tags}


def _unpacked(sizes: Sequence[Mapping[str, int]], images: int) -> float:
    """GB on the disk from the layers (digest → bytes) of some images: what they share once, the rest for each."""
    counts = Counter(digest for layers in sizes for digest in layers)
    shared = {d: size for layers in sizes for d, size in layers.items() if len(sizes) > 1 and counts[d] == len(sizes)}
    own = [sum(size for digest, size in layers.items() if digest not in shared) for layers in sizes]
    return (sum(shared.values()) + images * float(np.mean(own))) * UNPACKED / 1e9


def _registry_sizes(images: Sequence[str]) -> list[dict[str, int]]:
    """Layers by digest of those images whose registry answers."""
    with ThreadPoolExecutor(SAMPLED) as pool:
        return [layers for layers in pool.map(layer_sizes, images) if layers]
