"""Keys are found wherever they lie in a file and however they are written; what is found is never repeated."""

from __future__ import annotations

import base64
import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from harness.files import UnreadableFileError
from harness.submission.secrets import MAX_PLACES, environment_secrets, secrets_in
from harness.submission.tree import BLOCK_BYTES, Tree

VALUE = 'pa55"wörd/+=&of no shape'
KEYS = {
    "Anthropic key": "sk-ant-api03-" + "Ab1-" * 8,
    "OpenRouter key": "sk-or-v1-" + "0a" * 32,
    "OpenAI key": "sk-proj-" + "Ab1_" * 10,
    "AWS key id": "AKIA" + "A1" * 8,
    "GitHub token": "ghp_" + "Ab1" * 12,
    "Google key": "AIza" + "Ab1-c" * 7,
    "Hugging Face token": "hf_" + "Ab1" * 11,
    "Groq key": "gsk_" + "Ab1c" * 12,
    "Slack token": "xoxb-" + "123-" * 8,
    "bearer token": 'Authorization": "Bearer ' + "Ab1." * 8,
}


def in_blocks(data: bytes, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("kind", KEYS)
def test_every_shape_is_found_at_every_place_in_the_blocks(kind: str) -> None:
    key = KEYS[kind].encode()
    for before in range(1, 64):
        text = b"x" * (5000 - before) + b"\n'" + key + b"'\n" + b"y" * 5000
        assert list(secrets_in(in_blocks(text, 5000), {})) == [f"line 2: {kind}"]
    assert list(secrets_in([key], {})) == [f"line 1: {kind}"]


def test_what_only_looks_like_a_key_is_none() -> None:
    text = "task-skeleton-" + "a" * 50 + " risk-" + "a" * 50 + " sk-short hf_x AKIA1 _ghp_" + "Ab1" * 12
    assert list(secrets_in([text.encode()], {})) == []


def test_a_value_is_found_in_every_way_to_write_it() -> None:
    raw = VALUE.encode()
    written = [
        VALUE,
        json.dumps(VALUE)[1:-1],
        json.dumps(json.dumps(VALUE)),
        quote(VALUE, safe=""),
        *(base64.b64encode(b"u" * n + raw + b"rest").decode() for n in range(3)),
        base64.urlsafe_b64encode(b"user:" + raw).decode(),
        raw.hex(),
    ]
    for form in written:
        text = f"\n\nhead {form} tail".encode()
        assert list(secrets_in(in_blocks(text, 7), {"MY_KEY": [VALUE]})) == ["line 3: the value of $MY_KEY"], form
    assert list(secrets_in([raw[:-1] + b"!"], {"MY_KEY": [VALUE]})) == []


def test_variables_that_speak_of_a_secret_are_known_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATSONX_APIKEY", "a-key-of-no-known-shape")
    monkeypatch.setenv("GATEWAY", "https://me:hidden-pass@example.org/v1")
    monkeypatch.setenv("OWN_NAME", "called-something-else")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    secrets = environment_secrets(["OWN_NAME", None])
    assert secrets["WATSONX_APIKEY"] == {"a-key-of-no-known-shape"}
    assert secrets["GATEWAY"] == {"hidden-pass"}
    assert secrets["OWN_NAME"] == {"called-something-else"}
    assert "TOKENIZERS_PARALLELISM" not in secrets


def test_keys_inside_of_archives_are_found(tmp_path: Path) -> None:
    path = tmp_path / "test_output.txt.gz"
    path.write_bytes(gzip.compress(b"fine\nkey sk-ant-" + b"a1" * 20))
    assert list(secrets_in(Tree(tmp_path).blocks(path.name), {})) == ["line 2: Anthropic key"]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UnreadableFileError, match="a damaged file"):
        list(secrets_in(Tree(tmp_path).blocks(path.name), {}))


def test_many_keys_of_a_file_are_not_all_listed() -> None:
    places = list(secrets_in([b"AKIA" + b"A1" * 8 + b"\n"] * 5000, {}))
    assert len(places) == MAX_PLACES + 1
    assert places[-1].startswith(f"more than {MAX_PLACES} keys")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "part",
    [
        *KEYS.values(),
        "sk-" + "a" * 199,
        "sk-",
        "authorization  ",
        "Authorization: Bearer ",
        "gh",
        "hf_a",
        " ",
        VALUE[:-1],
    ],
)
def test_five_megabytes_of_beginnings_are_searched_in_one_pass(part: str) -> None:
    size = 5_000_000
    text = (part * (size // len(part) + 1)).encode()[:size]
    list(secrets_in(in_blocks(text), {"MY_KEY": [VALUE]}))


def test_random_bytes_hold_no_key() -> None:
    assert list(secrets_in(in_blocks(random.Random(7).randbytes(3_000_000)), {"MY_KEY": [VALUE]})) == []
