"""The sample's base image: Debian with Python, pytest, git, patch and kill.

A slim public image where one can be pulled, else one made on this machine with debootstrap from Debian's packages.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ImageUnavailableError

if TYPE_CHECKING:
    from docker import DockerClient

BASE_IMAGE = "polyswe-sample-base:latest"
SUITE = "bookworm"
PACKAGES = ("python3", "python3-pytest", "git", "patch", "procps", "ca-certificates")
RECIPE = f"1 {SUITE} {' '.join(PACKAGES)}"
"""Changes with what the base holds; images made from another recipe are built anew."""
RECIPE_LABEL = "polyswe.recipe"

PUBLIC_IMAGE = ("debian", f"{SUITE}-slim")
DOCKERFILE = f"""FROM {":".join(PUBLIC_IMAGE)}
RUN apt-get update && apt-get install -y --no-install-recommends {" ".join(PACKAGES)} && rm -rf /var/lib/apt/lists/*
LABEL "{RECIPE_LABEL}"="{RECIPE}"
"""
LEFT_OUT = (
    "./var/cache/apt/archives/*.deb",
    "./var/lib/apt/lists/*",
    "./usr/share/doc/*",
    "./usr/share/man/*",
    "./usr/share/locale/*",
)


def ensure_base(client: DockerClient) -> None:
    """Build the base image unless it is there.

    Raises:
        ImageUnavailableError: nothing can be pulled and debootstrap cannot run on this machine.
    """
    import docker

    try:
        if client.images.get(BASE_IMAGE).labels.get(RECIPE_LABEL) == RECIPE:
            return
    except docker.errors.ImageNotFound:
        pass
    print("building the sample's base image (once, about a minute) …", file=sys.stderr)
    if not _from_public_image(client):
        _from_debootstrap()


def _from_public_image(client: DockerClient) -> bool:
    """True when the base was built on a public image; False when none can be pulled."""
    import docker

    try:
        client.images.pull(*PUBLIC_IMAGE)
        client.images.build(fileobj=io.BytesIO(DOCKERFILE.encode()), tag=BASE_IMAGE, rm=True, forcerm=True)
    except (docker.errors.APIError, docker.errors.BuildError):
        return False
    return True


def _from_debootstrap() -> None:
    if os.geteuid() != 0:
        raise ImageUnavailableError(
            f"the sample's base image: {':'.join(PUBLIC_IMAGE)} cannot be pulled, "
            "and making one with debootstrap needs root; "
            "run once as root or on a machine that reaches an image registry"
        )
    _ensure_debootstrap()
    with tempfile.TemporaryDirectory(prefix="polyswe-base-") as folder:
        root = Path(folder) / "root"
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root)]
        _run(command, "debootstrap")
        excluded = [f"--exclude={pattern}" for pattern in LEFT_OUT]
        with subprocess.Popen(["tar", "-C", str(root), *excluded, "-c", "."], stdout=subprocess.PIPE) as tar:
            label = f'LABEL "{RECIPE_LABEL}"="{RECIPE}"'
            imported = subprocess.run(
                ["docker", "import", "--change", label, "-", BASE_IMAGE],
                stdin=tar.stdout,
                capture_output=True,
                text=True,
                check=False,
            )
        if tar.returncode != 0 or imported.returncode != 0:
            raise ImageUnavailableError(
                f"the sample's base image: 'docker import' failed ({imported.stderr.strip()[:200]})"
            )


def _ensure_debootstrap() -> None:
    if shutil.which("debootstrap"):
        return
    if not shutil.which("apt-get"):
        raise ImageUnavailableError(
            "the sample's base image: no image can be pulled and there is no 'debootstrap'; install it"
        )
    _run(["apt-get", "update"], "apt-get update")
    _run(["apt-get", "install", "-y", "--no-install-recommends", "debootstrap"], "apt-get install debootstrap")


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    )
    if done.returncode != 0:
        output = " ".join((done.stderr or done.stdout).split())[-300:]
        raise ImageUnavailableError(f"the sample's base image: '{what}' failed ({output})")
