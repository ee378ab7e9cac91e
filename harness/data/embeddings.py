"""Embeddings of issue texts, cached on disk, with a missing embedder as one clear line."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import EnvironmentUnavailableError
from harness.files import cache_dir, write_atomic
from router.embedding import DEFAULT_EMBEDDER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def embed_texts(
    texts: Sequence[str],
    embedder: str | TextEmbedder = DEFAULT_EMBEDDER,
    *,
    cache: Path | None = None,
    show_bar: bool = False,
) -> NDArray[np.float32]:
    """(n, d) unit vectors of n texts, from the cache where they are known.

    Raises:
        EnvironmentUnavailableError: the embedder's weights are neither installed nor downloadable.
    """
    from router.embedding import Embedder, EmbedderUnavailableError

    model = Embedder(embedder) if isinstance(embedder, str) else embedder
    try:
        return embed(model, texts, root=cache, progress=show_bar)
    except EmbedderUnavailableError as error:
        raise EnvironmentUnavailableError(str(error)) from error


class TextEmbedder(Protocol):
    """What the cache needs of `router.embedding.Embedder`."""

    @property
    def fingerprint(self) -> str:
        """Names the weights: two embedders with one fingerprint give one text the same vector."""

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """(n, d) unit vectors of n texts."""


def embed(
    embedder: TextEmbedder, texts: Sequence[str], *, root: Path | None = None, progress: bool = False
) -> NDArray[np.float32]:
    """(n, d) embeddings of n texts; only texts this cache has not seen are encoded.

    Args:
        embedder: used for the texts that are missing; its fingerprint names the shelf.
        root: of the cache (default `cache_dir()`).
        progress: show a progress bar while encoding.

    Each call that encodes something adds one file under the fingerprint's folder; files are never changed, so
    processes may share the cache. A damaged file is as good as none.
    """
    shelves = (root or cache_dir()) / "embeddings"
    shelf = shelves / re.sub(r"[^\w.-]+", "_", _fingerprint(embedder, shelves))
    keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    known = _read_shelf(shelf)
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if missing:
        vectors = embedder.encode(list(missing.values()), progress=progress)
        known.update(zip(missing, vectors, strict=True))
        _add_to_shelf(shelf, list(missing), vectors)
    return np.stack([known[key] for key in keys]).astype(np.float32) if keys else np.zeros((0, 0), np.float32)


def _fingerprint(embedder: TextEmbedder, shelves: Path) -> str:
    """The embedder's fingerprint, remembered by its files' stamp: finding it out takes loading the model."""
    stamp: str | None = getattr(embedder, "stamp", None)
    if stamp is None:
        return embedder.fingerprint
    note = shelves / "fingerprints" / stamp
    if note.is_file():
        return note.read_text(encoding="utf-8").strip()
    write_atomic(note, embedder.fingerprint)
    return embedder.fingerprint


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
    from io import BytesIO

    buffer = BytesIO()
    np.savez(buffer, keys=np.array(keys), vectors=np.asarray(vectors, dtype=np.float32))
    name = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:32]
    write_atomic(shelf / f"{name}.npz", buffer.getvalue())
