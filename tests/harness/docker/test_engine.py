"""The SDK follows the docker command line to its engine, and what cannot be reached says so."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.docker.engine import connect, endpoint
from harness.errors import EngineUnavailableError

pytestmark = pytest.mark.docker


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration folder of the docker command line with contexts `here` and `nowhere`."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    socket = endpoint().host
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))  # from here on, what a context was is looked up anew
    for name, host in (("here", socket), ("nowhere", "unix:///no/such/socket")):
        docker("context", "create", name, "--docker", f"host={host}")
    return tmp_path


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_context_of_the_environment_is_followed(docker_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert endpoint().context == "default"
    monkeypatch.setenv("DOCKER_CONTEXT", "here")
    assert endpoint().context == "here"
    assert connect().info()["ID"] == docker("info", "--format", "{{.ID}}")
    monkeypatch.setenv("DOCKER_CONTEXT", "nowhere")
    with pytest.raises(EngineUnavailableError, match=r"no/such/socket \(context nowhere\)"):
        connect()
    monkeypatch.setenv("DOCKER_CONTEXT", "missing")
    with pytest.raises(EngineUnavailableError, match="docker context missing"):
        connect()


def test_the_current_context_is_followed_unless_a_host_is_given(
    docker_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker("context", "use", "nowhere")
    with pytest.raises(EngineUnavailableError, match="context nowhere"):
        connect()
    monkeypatch.setenv("DOCKER_HOST", "unix:///var/run/docker.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "nowhere")
    assert endpoint().host == os.environ["DOCKER_HOST"]


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("unix:///no/such/socket", r"\(No such file or directory\); run 'make engine'"),
        ("tcp://127.0.0.1:9", r"\(Connection refused\); run 'make engine'"),
    ],
)
def test_an_engine_that_does_not_answer_is_named_with_the_systems_reason(
    host: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(EngineUnavailableError, match=message):
        connect()


def test_a_user_who_may_not_use_the_engine_is_told_of_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    endpoint()
    tmp_path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(EngineUnavailableError, match=r"\(Permission denied\); .*usermod -aG docker"):
            connect()
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)


def test_an_engine_behind_ssh_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://nobody@127.0.0.1:1")
    with pytest.raises(EngineUnavailableError, match=r"paramiko|no Docker Engine answers at ssh://nobody"):
        connect(timeout=5)
