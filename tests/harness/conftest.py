"""A registry of images and a Docker Engine of the tests' own, to be broken at will; runs made by hand, without one."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import sqlite3
import ssl
import subprocess
import tarfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agents.attempt import Attempt
from harness.config import find_config, load_config, with_overrides
from harness.data.instances import Instance, load_dataset
from harness.grading.verdict import Grade, Verdict
from harness.run.plan import plan
from harness.store.rows import Cell, State
from harness.store.run_folder import PATCH_FILE, RunFolder
from harness.store.store import Store

if TYPE_CHECKING:
    from docker import DockerClient

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class TinyRegistry:
    """Serves images of one layer over the registry protocol on 127.0.0.1; `refuse` may answer in its place."""

    def __init__(self) -> None:
        self.refuse: Callable[[str], tuple[int, str] | None] = lambda name: None
        """Image name → status and error code to answer its manifest with, or None to serve it."""
        self.asked: list[str] = []
        """Names whose manifest was asked for, in order."""
        self.names: list[str] = []
        self._manifests: dict[str, bytes] = {}
        self._blobs: dict[str, bytes] = {}
        registry = self
        # names of this test run alone: the engine is shared, and its images are cleaned up by name
        self._prefix = f"polyswe-test-{uuid.uuid4().hex[:8]}"

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                registry._answer(self, with_body=True)

            def do_HEAD(self) -> None:
                registry._answer(self, with_body=False)

            def log_message(self, *_: object) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]  # the engine tries TLS first
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def speak_tls(self, folder: Path) -> Path:
        """From now on only TLS; returns the certificate to trust."""
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed")
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
        subprocess.run([*make, "-keyout", str(key), "-out", str(certificate)], capture_output=True, check=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        return certificate

    def add_list(self, name: str, architecture: str) -> str:
        """Offer a list of manifests with one image in it."""
        full = self.add(name, architecture=architecture)
        manifest = self._manifests[name]
        self._manifests[_digest(manifest)] = manifest
        kind = "application/vnd.docker.distribution.manifest.list.v2+json"
        platform = {"os": "linux", "architecture": architecture}
        entries = [{**_described(manifest, MANIFEST), "platform": platform}]
        text = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries})
        self._manifests[name] = text.encode()
        return full

    def add(self, name: str, size: int = 1000, architecture: str = "amd64") -> str:
        """Offer an image with a file of `size` random bytes; returns what `docker pull` calls it."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            info = tarfile.TarInfo("content")
            info.size = size
            tar.addfile(info, io.BytesIO(os.urandom(size)))
        layer = gzip.compress(archive.getvalue(), 1)
        config = json.dumps(
            {
                "architecture": architecture,
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [_digest(archive.getvalue())]},
                "history": [{}],
            }
        ).encode()
        for blob in (layer, config):
            self._blobs[_digest(blob)] = blob
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _described(config, "application/vnd.docker.container.image.v1+json"),
            "layers": [_described(layer, "application/vnd.docker.image.rootfs.diff.tar.gzip")],
        }
        self._manifests[name] = json.dumps(manifest).encode()
        return self.full_name(name)

    def full_name(self, name: str) -> str:
        full = f"localhost:{self._http.server_port}/{self._prefix}/{name}"
        self.names.append(full)
        return full

    def lose_layers(self) -> None:
        """Forget what the manifests speak of: a transfer breaks off after it has begun."""
        self._blobs = {digest: blob for digest, blob in self._blobs.items() if blob.startswith(b"{")}

    def requests_for(self, name: str) -> int:
        return self.asked.count(name)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler, *, with_body: bool) -> None:
        parts = handler.path.strip("/").split("/")
        status, kind, body = 404, "application/json", _error("MANIFEST_UNKNOWN")
        if parts == ["v2"]:
            status, body = 200, b"{}"
        elif len(parts) == 5 and parts[3] == "manifests":
            name = parts[2]
            if not with_body:  # a pull begins with one HEAD; what follows depends on the answer
                self.asked.append(name)
            refusal = self.refuse(name)
            if refusal:
                status, body = refusal[0], _error(refusal[1])
            elif name in self._manifests:
                body = self._manifests[name]
                status, kind = 200, json.loads(body)["mediaType"]
        elif len(parts) == 5 and parts[3] == "blobs":
            body = _error("BLOB_UNKNOWN")
            if parts[4] in self._blobs:
                status, kind, body = 200, "application/octet-stream", self._blobs[parts[4]]
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        handler.send_header("Docker-Content-Digest", _digest(body))
        handler.end_headers()
        if with_body:
            handler.wfile.write(body)


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _described(data: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": kind, "size": len(data), "digest": _digest(data)}


def _error(code: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}).encode()


@pytest.fixture
def registry(engine: DockerClient) -> Iterator[TinyRegistry]:
    import docker

    registry = TinyRegistry()
    yield registry
    registry.close()
    for name in set(registry.names):
        try:
            engine.images.remove(name, force=True)
        except docker.errors.ImageNotFound:
            continue


class OwnEngine:
    """A Docker Engine beside the machine's own, with its disk in a file: to be killed, restarted and filled up.

    In a network namespace of its own: an engine without a bridge removes the bridge of every other engine from the
    namespace that it starts in.
    """

    def __init__(self, folder: Path, disk_mb: int = 1500) -> None:
        self.folder = folder
        self.socket = folder / "engine.sock"
        self.root = folder / "root"
        self._image = folder / "disk.img"
        self._disk_mb = disk_mb
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DOCKER_HOST": self.url}

    def make_disk(self) -> bool:
        self.root.mkdir(parents=True)
        with self._image.open("wb") as file:
            file.truncate(self._disk_mb << 20)
        commands = (["mkfs.ext4", "-q", str(self._image)], ["mount", "-o", "loop", str(self._image), str(self.root)])
        return all(subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in commands)

    def start(self) -> None:
        with (self.folder / "engine.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "unshare", "--net", "dockerd", "-H", self.url, "--data-root", str(self.root),
                    "--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid"),
                    "--bridge=none", "--iptables=false", "--ip-masq=false", "--shutdown-timeout=1",
                ],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        for _ in range(600):
            if self._process.poll() is not None:
                break
            if self.docker("info").returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError((self.folder / "engine.log").read_text()[-2000:])

    def docker(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["docker", "-H", self.url, *words], capture_output=True, check=False)

    def load(self, image: str) -> None:
        """Take an image over from the machine's engine."""
        save = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
        subprocess.run(["docker", "-H", self.url, "load"], stdin=save.stdout, capture_output=True, check=True)
        assert save.wait() == 0

    def stop(self) -> None:
        """End it as a service manager does: the containers end with it."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            leftovers = self.docker("ps", "-aq").stdout.decode().split()
            if leftovers:
                self.docker("rm", "-f", *leftovers)
        self.stop()
        for place in (self.root, self.folder / "exec" / "netns" / "default"):
            for _ in range(20):
                if subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode == 0:
                    break
                if not os.path.ismount(place):
                    break
                time.sleep(0.2)


@pytest.fixture(scope="module")
def own_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnEngine]:
    missing = [name for name in ("dockerd", "unshare", "mkfs.ext4", "mount") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"an engine of the tests' own needs root and {', '.join(missing) or 'nothing else'}")
    # a socket's path may not be longer than 107 bytes
    engine = OwnEngine(Path(f"/tmp/polyswe-{uuid.uuid4().hex[:8]}"))
    engine.folder.mkdir()
    try:
        if not engine.make_disk():
            pytest.skip("a file cannot be mounted as a disk here")
        engine.start()
        yield engine
    finally:
        engine.close()
        shutil.rmtree(engine.folder, ignore_errors=True)


MakeRun = Callable[..., RunFolder]
SMALL, MEDIUM, LARGE = "scripted-small", "scripted-medium", "scripted-large"


def verdict_by_default(place: int, model: str) -> Verdict:
    """The large model resolves most, every kind of verdict occurs."""
    if model == LARGE:
        return Verdict.EMPTY_PATCH if place == 3 else Verdict.UNRESOLVED if place % 5 == 4 else Verdict.RESOLVED
    if model == MEDIUM:
        return Verdict.PATCH_FAILED if place == 2 else Verdict.RESOLVED if place % 2 else Verdict.UNRESOLVED
    return Verdict.RESOLVED if place % 5 == 4 else Verdict.UNRESOLVED


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run folder of the sample: `make_run(name, verdicts={cell: verdict}, only=[ids], unfinished=[cells])`.

    With `repeats`, `later` holds the verdicts of those repeated attempts that differ from the first one.
    """

    def make(
        name: str = "run",
        verdicts: Mapping[tuple[str, str], Verdict] | None = None,
        only: Sequence[str] | None = None,
        unfinished: Sequence[tuple[str, str]] = (),
        cost: float = 1.0,
        repeats: int = 1,
        later: Mapping[Cell, Verdict] | None = None,
    ) -> RunFolder:
        changes = {"dataset.instances": only, "out.root": tmp_path, "out.run_id": name, "run.repeats": repeats}
        config = with_overrides(load_config(find_config("sample")), changes)
        dataset = load_dataset(config.dataset)
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir()
        folder.write_manifest(config, dataset)
        instances = {instance.instance_id: (k, instance) for k, instance in enumerate(dataset.instances)}
        with Store(folder.store_path) as store:
            cells = plan(config, dataset)
            store.plan(cells)
            for cell in cells:
                if (cell.instance_id, cell.model) in unfinished:
                    store.failed(cell, "container", "the engine was gone")
                    continue
                place, instance = instances[cell.instance_id]
                verdict = (verdicts or {}).get((cell.instance_id, cell.model), verdict_by_default(place, cell.model))
                verdict = (later or {}).get(cell, verdict)
                write_cell(
                    folder, store, cell, instance, verdict, cost * (1 + [SMALL, MEDIUM, LARGE].index(cell.model))
                )
            assert all(row.state in (State.GRADED, State.FAILED) for row in store.rows())
        return folder

    return make


def write_cell(folder: RunFolder, store: Store, cell: Cell, instance: Instance, verdict: Verdict, cost: float) -> None:
    out = folder.cell_dir(cell)
    out.mkdir(parents=True)
    patch = "" if verdict is Verdict.EMPTY_PATCH else f"diff --git a/x b/x\n# {cell.model} on {cell.instance_id}\n"
    (out / PATCH_FILE).write_text(patch)
    told = {"role": "user", "content": instance.problem_statement}
    (out / "trajectory.json").write_text(json.dumps({"messages": [told, {"role": "assistant", "content": "done"}]}))
    if verdict in (Verdict.RESOLVED, Verdict.UNRESOLVED):
        passed = verdict is Verdict.RESOLVED
        (out / "test_output.txt").write_text(official_log(instance, passed=passed))
        (out / "report.json").write_text(json.dumps({instance.instance_id: {"resolved": passed}}))
    attempt = Attempt(
        instance_id=cell.instance_id, model=cell.model, patch=patch, exit_status="Submitted", cost_usd=cost,
        api_calls=7, prompt_tokens=10, completion_tokens=5, cached_tokens=2, failed_calls=0, seconds=9.0,
        trajectory=out / "trajectory.json", unsubmitted_patch="", scripted=True,
    )  # fmt: skip
    store.agent_done(cell, attempt)
    store.graded(cell, Grade(verdict))


def official_log(instance: Instance, *, passed: bool) -> str:
    """What the official parser reads as every test passed, or as the tests of the issue failed."""

    def names(key: str) -> list[str]:
        tests = instance.row[key]
        return json.loads(tests) if isinstance(tests, str) else list(tests)

    lines = [f"{'PASSED' if passed else 'FAILED'} {test}" for test in names("FAIL_TO_PASS")]
    lines += [f"PASSED {test}" for test in names("PASS_TO_PASS")]
    return "\n".join([": '>>>>> Start Test Output'", *lines, ": '>>>>> End Test Output'", ""])


@dataclass(frozen=True)
class ModelCalls:
    """What a model's calls add up to in a store, over all attempts."""

    answered: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    seconds: float


@pytest.fixture
def calls_by_model() -> Callable[[Path], dict[str, ModelCalls]]:
    """Reads what a store has on record of the requests to providers: `calls_by_model(path)`."""

    def read(path: Path) -> dict[str, ModelCalls]:
        with sqlite3.connect(path) as db:
            rows = db.execute(
                "SELECT model, SUM(failure = ''), SUM(failure <> ''), SUM(prompt_tokens), SUM(completion_tokens), "
                "TOTAL(cost_usd), TOTAL(seconds) FROM calls GROUP BY model"
            ).fetchall()
        return {model: ModelCalls(*sums) for model, *sums in rows}

    return read
