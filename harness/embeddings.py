"""Embeddings of issue texts, cached on disk, with a missing embedder as one clear line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cache import TextEmbedder, embed
from harness.errors import EnvironmentFault
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
        EnvironmentFault: the embedder's weights are neither installed nor downloadable.
    """
    from router.embedding import Embedder, EmbedderUnavailableError

    model = Embedder(embedder) if isinstance(embedder, str) else embedder
    try:
        return embed(model, texts, root=cache, progress=show_bar)
    except EmbedderUnavailableError as error:
        raise EnvironmentFault(str(error)) from error
