"""Images from a real registry through the real engine: when a pull is tried again, pulls ahead of need, the limit."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest

from agents.container.history import DERIVED_FROM_LABEL
from harness.docker.images import OFFLINE_ATTEMPTS, Images, Patience, pull_failure_kind
from harness.errors import ImageUnavailableError
from harness.run.disk import disk_needed

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

MB = 1_000_000
QUICK = Patience(attempts=3, first_wait=0.01)


def present(engine: DockerClient, image: str) -> bool:
    return bool(engine.images.list(name=image))


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 60
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def test_a_rate_limit_passes(engine: DockerClient, registry: Any) -> None:
    image = registry.add("limited")
    registry.refuse = lambda name: (429, "TOOMANYREQUESTS") if registry.requests_for(name) <= 2 else None
    messages: list[str] = []
    Images(engine, patience=QUICK, say=messages.append).ensure(image)
    assert present(engine, image)
    assert registry.requests_for("limited") == 3
    assert len(messages) == 2
    assert all("trying again" in line for line in messages)


@pytest.mark.parametrize(
    ("status", "code", "kind", "requests"),
    [(429, "TOOMANYREQUESTS", "rate-limit", 3), (404, "MANIFEST_UNKNOWN", "missing", 1)],
)
def test_a_pull_that_fails_for_good_says_why(
    engine: DockerClient, registry: Any, status: int, code: str, kind: str, requests: int
) -> None:
    image = registry.add("refused")
    registry.refuse = lambda name: (status, code)
    images = Images(engine, patience=QUICK)
    with pytest.raises(ImageUnavailableError) as caught:
        images.ensure(image)
    assert (caught.value.kind, registry.requests_for("refused")) == (kind, requests)
    with pytest.raises(ImageUnavailableError):
        images.ensure(image)
    again = requests if kind == "missing" else 2 * requests
    assert registry.requests_for("refused") == again, (
        "what does not exist is requested once, however many cells need it"
    )


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (
            'Get "https://registry.example/v2/": dial tcp: lookup registry.example on 10.0.0.2:53: no such host',
            "registry",
        ),
        ("dial tcp: lookup registry.example on 10.0.0.2:53: server misbehaving", "registry"),
        ("pull access denied for a/b, repository does not exist or may require 'docker login'", "missing"),
    ],
)
def test_a_name_server_that_is_out_is_no_missing_image(words: str, kind: str) -> None:
    assert pull_failure_kind(words) == kind


def test_a_broken_transfer_is_not_taken_for_an_image(engine: DockerClient, registry: Any) -> None:
    """The engine tells of it only in the midst of its report, which the SDK's own `pull` does not read."""
    image = registry.add("broken")
    registry.lose_layers()
    with pytest.raises(ImageUnavailableError, match=r"unknown blob|blob unknown") as caught:
        Images(engine, patience=QUICK).ensure(image)
    assert caught.value.kind == "registry"
    assert registry.requests_for("broken") == 3, "what breaks off may go well the next time"


def test_an_image_for_another_architecture_only_says_so(engine: DockerClient, registry: Any) -> None:
    """In a list of manifests there is none to pull; a single one is pulled and runs by emulation at best."""
    image = registry.add_list("list", architecture="s390x")
    with pytest.raises(ImageUnavailableError, match="another architecture only") as caught:
        Images(engine, patience=QUICK).ensure(image)
    assert caught.value.kind == "missing"
    assert registry.requests_for("list") == 1
    messages: list[str] = []
    single = registry.add("single", architecture="s390x")
    Images(engine, patience=QUICK, say=messages.append).ensure(single)
    assert len(messages) == 1
    assert "made for s390x" in messages[0]


def test_offline_a_missing_image_is_not_waited_for(engine: DockerClient) -> None:
    """Nobody listens there. An outage in the midst of a run, after a registry has answered, gets all tries."""
    messages: list[str] = []
    images = Images(engine, patience=Patience(attempts=6, first_wait=0.01), say=messages.append)
    with pytest.raises(ImageUnavailableError) as caught:
        images.ensure("localhost:9/polyswe-test/none")
    assert caught.value.kind == "registry"
    assert len(messages) == OFFLINE_ATTEMPTS - 1


def test_no_more_than_the_limit_is_kept_and_the_longest_idle_goes_first(engine: DockerClient, registry: Any) -> None:
    there = registry.add("there-before", 3 * MB)
    engine.images.pull(there)
    names = [registry.add(f"image-{number}", 3 * MB) for number in range(4)]
    order = [name for name in (there, *names) for _ in range(2)]  # two models each
    images = Images(engine, limit_gb=0.007, patience=QUICK)
    with images.ahead(order, workers=0, depth=0):
        for name in (there, *names[:3]):
            images.ensure(name)
        assert all(present(engine, name) for name in names[:3]), "a cell is never kept waiting by the limit"
        images.release(names[0])
        assert present(engine, names[0]), "its other model still needs it"
        images.release(names[0])
        assert not present(engine, names[0])
        for name in (names[2], names[1]):
            images.release(name)
            images.release(name)
        assert present(engine, names[1])
        images.ensure(names[3])
        for name in (names[3], there):
            images.release(name)
            images.release(name)
    kept = [present(engine, name) for name in names]
    assert kept == [False, True, False, True], "the one that has been idle for longest goes first"
    assert present(engine, there), "what was there before the run is not the run's to remove"


def test_a_later_start_knows_what_an_earlier_one_pulled(engine: DockerClient, registry: Any) -> None:
    old, new = registry.add("old", 3 * MB), registry.add("new", 3 * MB)
    noted: list[str] = []
    Images(engine, on_pull=noted.append, patience=QUICK).ensure(old)
    assert noted == [old]
    later = Images(engine, limit_gb=0.004, pulled_before=noted, patience=QUICK)
    with later.ahead([new], workers=0, depth=0):
        assert present(engine, old)
        later.ensure(new)
        assert not present(engine, old), "no cell needs it any more, and it stands in the way"
        assert present(engine, new)


def cut(engine: DockerClient, image: str, size: int) -> str:
    """As agents make an image without later history: a commit with their label; returns its id."""
    identity = engine.images.get(image).id
    container = engine.api.create_container(image, command="none")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        info = tarfile.TarInfo("pack")
        info.size = size
        tar.addfile(info, io.BytesIO(os.urandom(size)))
    engine.api.put_archive(container["Id"], "/", archive.getvalue())
    done = engine.api.commit(container["Id"], changes=f'LABEL "{DERIVED_FROM_LABEL}"="{identity}"')
    engine.api.remove_container(container["Id"])
    return str(done["Id"])


def test_images_without_later_history_count_and_go(engine: DockerClient, registry: Any) -> None:
    there, pulled, other = (registry.add(name, 3 * MB) for name in ("there", "pulled", "other"))
    engine.images.pull(there)
    images = Images(engine, limit_gb=0.0075, patience=QUICK)
    with images.ahead([there, pulled, pulled, other], workers=0, depth=0):
        for name in (there, pulled):
            images.ensure(name)
        cuts = [cut(engine, name, 3 * MB) for name in (there, pulled)]
        images.release(pulled)
        assert all(present(engine, name) for name in (there, pulled))
        images.release(there)  # 3 of its cut, 6 of the other image and its cut: only the first is idle
        assert not engine.images.list(filters={"label": f"{DERIVED_FROM_LABEL}={engine.images.get(there).id}"})
        assert present(engine, there), "what was there before the run is not the run's to remove"
        assert engine.images.get(cuts[1])
        images.ensure(other)
        images.release(pulled)
        assert not present(engine, pulled)
        with pytest.raises(docker.errors.ImageNotFound):
            engine.images.get(cuts[1])
        assert present(engine, other)


def test_images_are_pulled_ahead_of_need_but_not_far(engine: DockerClient, registry: Any) -> None:
    names = [registry.add(f"ahead-{number}") for number in range(5)]
    images = Images(engine, patience=QUICK)
    with images.ahead(names, workers=2, depth=2):
        assert eventually(lambda: present(engine, names[0]) and present(engine, names[1]))
        assert set(registry.asked) == {"ahead-0", "ahead-1"}
        images.ensure(names[0])
        assert eventually(lambda: present(engine, names[2]))
    assert registry.requests_for("ahead-0") == 1, "one pull for all cells"
    assert not present(engine, names[4])


def test_the_forecast_asks_the_registry_how_large_images_are(
    engine: DockerClient, registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the docker command line, which speaks TLS to every registry."""
    monkeypatch.setenv("SSL_CERT_FILE", str(registry.speak_tls(tmp_path)))
    names = [registry.add(f"size-{number}", 4 * MB) for number in range(6)]
    gb, missing, basis = disk_needed(names)
    assert missing == 6
    assert gb == pytest.approx(6 * 0.004 * 2.5, rel=0.05)
    assert "manifests of 3 of 6" in basis
    assert not any(present(engine, name) for name in names)
    registry.refuse = lambda name: (429, "TOOMANYREQUESTS")
    gb, _, basis = disk_needed(names)
    assert gb == pytest.approx(6.0)
    assert "assumed" in basis
