"""Keys from a file reach the command and nothing else: not its messages, and no variable that is set already."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.commands.env_file import load_env_file
from harness.errors import InputError

CANARY = "sk-canary-$HOME-0123456789"
POOL = """\
dataset: {name: sample}
pool:
  - {name: m, model: openai/m, api_base: "http://127.0.0.1:9/v1", api_key_env: ENV_FILE_KEY, free: true}
out: {root: OUT}
"""


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ENV_FILE_KEY", raising=False)
    monkeypatch.setenv("ENV_FILE_KEPT", "before")
    path = tmp_path / "keys.env"
    path.write_text(f"# keys\nexport ENV_FILE_KEY='{CANARY}'  # mine\n\nENV_FILE_KEPT=after-0123456789\n")
    path.chmod(0o600)
    return path


def test_variables_are_set_unless_they_are_and_only_named(
    env_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    load_env_file(env_file)
    assert (os.environ["ENV_FILE_KEY"], os.environ["ENV_FILE_KEPT"]) == (CANARY, "before")
    message = capsys.readouterr().err
    assert "keys.env: ENV_FILE_KEY; set before and kept: ENV_FILE_KEPT" in message
    assert "chmod" not in message
    env_file.chmod(0o640)
    load_env_file(env_file)
    message += capsys.readouterr().err
    assert f"chmod 600 {env_file}" in message
    assert "0123456789" not in message


@pytest.mark.parametrize(
    "content", [b"ENV_FILE_KEY", b"A=1\nsk-canary-0123456789\n", b"A='sk-canary-0123456789\n", b"A=\xff\xfe", b"A=a\0b"]
)
def test_a_line_that_is_no_variable_is_refused_without_its_text(env_file: Path, content: bytes) -> None:
    env_file.write_bytes(content)
    with pytest.raises(InputError, match=r"keys\.env") as refusal:
        load_env_file(env_file)
    assert "0123456789" not in str(refusal.value)
    assert "A" not in os.environ


@pytest.mark.parametrize("place", ["/dev/zero", "/", "/nowhere"])
def test_what_is_no_file_of_variables_is_refused(place: str) -> None:
    with pytest.raises(InputError, match=f"--env-file {place}: "):
        load_env_file(Path(place))


@pytest.mark.docker
def test_a_command_finds_its_key_in_the_file(env_file: Path, tmp_path: Path) -> None:
    config = tmp_path / "my.yaml"
    config.write_text(POOL.replace("OUT", str(tmp_path / "runs")))
    command = [sys.executable, "-m", "harness", "doctor", str(config)]
    without = subprocess.run(command, capture_output=True, text=True)
    assert "ENV_FILE_KEY" in without.stdout + without.stderr
    found = subprocess.run([*command, "--env-file", str(env_file)], capture_output=True, text=True)
    assert "ENV_FILE_KEY is set" in found.stdout
    assert CANARY not in found.stdout + found.stderr
