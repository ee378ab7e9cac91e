"""General texts to learn clusters from, and the refusal of those that know the evaluation's instances."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.embeddings import embed_texts
from harness.data.instances import repository_of
from harness.data.rows import load_rows
from harness.errors import InputError
from harness.files import user_path
from router.embedding import TextEmbedder

NEAR = 0.95
"""Cosine of embeddings from which a text is taken for an evaluation instance under another id; different issues of one
repository stay below."""
TEXT_FIELDS = ("text", "problem_statement", "prompt", "content")
"""Columns that a row's text is taken from, the first that has one."""
REPOSITORY_FIELDS = ("repo", "repository")
"""Columns that name its repository."""


@dataclass(frozen=True)
class CorpusText:
    id: str
    text: str
    repository: str | None = None
    source: str = ""
    """Collection that it is from, where the row says so."""


@dataclass(frozen=True)
class Leak:
    """A text of the corpus that must not be learned from."""

    id: str
    reason: str


def load_corpus(source: str, *, split: str = "train") -> list[CorpusText]:
    """Texts of a jsonl, json or parquet file, of every such file in a folder, or of a dataset on the hub.

    A row's text is its field `text`, `problem_statement`, `prompt` or `content`; its id `id` or `instance_id` (else its
    number); its repository `repo` or `repository`. Raises InputError for a file without texts.
    """
    folder = user_path(source)
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    rows = [row for file in files for row in load_rows(str(file), split)] if files else load_rows(source, split)
    texts = []
    for number, row in enumerate(rows, 1):
        text = _first(row, TEXT_FIELDS)
        if text is None:
            continue
        name = row.get("id", row.get("instance_id"))
        texts.append(
            CorpusText(
                str(number if name is None else name),
                text,
                repository=_first(row, REPOSITORY_FIELDS),
                source=_first(row, ("source",)) or "",
            )
        )
    if not texts:
        raise InputError(f"corpus {source}: no row has a text in {', '.join(TEXT_FIELDS)}")
    return texts


def find_leaks(
    corpus: Sequence[CorpusText],
    statements: Mapping[str, str],
    corpus_embeddings: NDArray[np.floating[Any]] | None = None,
    embeddings: NDArray[np.floating[Any]] | None = None,
) -> list[Leak]:
    """Texts equal to an evaluation instance but for case and spacing, near-equal by embedding, or of its repository.

    Args:
        corpus: n texts.
        statements: issue text by id of the evaluation's instances (m).
        corpus_embeddings, embeddings: (n, d) and (m, d) unit vectors; None leaves out what only they show.
    """
    known = {_normal(text): instance for instance, text in statements.items()}
    repositories = {repository_of(instance).casefold() for instance in statements} - {""}
    ids = list(statements)
    near = None if corpus_embeddings is None or embeddings is None else corpus_embeddings @ embeddings.T
    leaks = []
    for number, text in enumerate(corpus):
        equal = known.get(_normal(text.text))
        own = (text.repository or "").replace("/", "__").casefold()
        # many collections have the repository in the id alone
        named = repository_of(text.id.replace("/", "__")).casefold()
        if text.id in statements or equal is not None:
            leaks.append(Leak(text.id, f"is the evaluation instance {equal or text.id}"))
        elif shared := {own, named} & repositories:
            leaks.append(Leak(text.id, f"is of {min(shared).replace('__', '/')}, a repository of the evaluation"))
        elif near is not None and near[number].max() >= NEAR:
            leaks.append(Leak(text.id, f"is all but the evaluation instance {ids[int(near[number].argmax())]}"))
    return leaks


def refuse_leaks(leaks: Sequence[Leak], shown: int = 10) -> None:
    """InputError naming the texts, where there are any."""
    if leaks:
        listed = "; ".join(f"{leak.id} {leak.reason}" for leak in leaks[:shown])
        more = f"; and {len(leaks) - shown} more" if len(leaks) > shown else ""
        raise InputError(
            f"corpus: {len(leaks)} texts must not be learned from: {listed}{more}. Leave them out, or pass --drop-leaks"
        )


def corpus_embeddings(
    source: str,
    statements: Mapping[str, str],
    embeddings: NDArray[np.floating[Any]],
    embedder: TextEmbedder,
    *,
    drop_leaks: bool = False,
    cache: Path | None = None,
    show_bar: bool = False,
) -> tuple[NDArray[np.floating[Any]], list[str]]:
    """(c, d) embeddings of a corpus without leaks, and notes on what was dropped. Raises InputError for leaks."""
    texts = load_corpus(source)
    vectors = embed_texts([text.text for text in texts], embedder, cache=cache, show_bar=show_bar)
    leaks = find_leaks(texts, statements, vectors, embeddings)
    if not drop_leaks:
        refuse_leaks(leaks)
    bad = {leak.id for leak in leaks}
    kept = [number for number, text in enumerate(texts) if text.id not in bad]
    if not kept:
        raise InputError(f"corpus {source}: nothing is left after dropping {len(leaks)} leaks")
    notes = [f"clusters are learned from {len(kept)} texts of {Path(source).name}"]
    if leaks:
        notes.append(f"{len(leaks)} texts of the corpus were dropped: instances or repositories of the evaluation")
    return vectors[kept], notes


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((row[name] for name in names if isinstance(row.get(name), str) and row[name].strip()), None)


def _normal(text: str) -> str:
    return hashlib.sha256(re.sub(r"\s+", " ", text).strip().casefold().encode("utf-8", "surrogatepass")).hexdigest()
