"""Words that say what a cluster is about, for people who read the report; no decision uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from harness.evaluation.schema import ClusterProfile

WORDS = 6
TEXT_LENGTH = 4000
"""Characters of an issue text that are looked at; what follows is mostly pasted output."""
WORD = r"(?u)\b[a-zA-Z][a-zA-Z]{2,29}\b"
COMMONPLACE = """
actual behavior behaviour bug code current description example expected file following import issue line output print
problem python reproduce result return self steps test traceback using version versions
"""
"""Words of nearly every issue text."""


def with_words(clusters: Sequence[ClusterProfile], texts: Mapping[str, str]) -> list[ClusterProfile]:
    """The clusters with their representative words, most telling first.

    A word's weight is the share of the cluster's texts that hold it × log(1 + a cluster's mean size / texts that hold
    it): class-based TF-IDF (M. Grootendorst, BERTopic, arXiv 2203.05794) on counts of texts, so that one long log does
    not outweigh ten issues. A word has to occur in two texts of the cluster (in one where there is only one).

    Args:
        clusters: with the ids of their instances; returned as they are when those are unknown.
        texts: issue text by instance id.
    """
    known = [[texts[name][:TEXT_LENGTH] for name in cluster.instances if name in texts] for cluster in clusters]
    if not any(known):
        return list(clusters)
    import numpy as np
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

    vectorizer = CountVectorizer(
        token_pattern=WORD, stop_words=sorted({*ENGLISH_STOP_WORDS, *COMMONPLACE.split()}), binary=True
    )
    try:
        found = vectorizer.fit_transform([text for of_cluster in known for text in of_cluster])
    except ValueError:  # scikit-learn's "empty vocabulary": no text has a word
        return list(clusters)
    names = vectorizer.get_feature_names_out()
    ends = np.cumsum([0, *(len(of_cluster) for of_cluster in known)])
    counts = np.array([found[a:b].sum(axis=0).A1 for a, b in pairwise(ends)], dtype=np.float64)
    sizes = np.maximum(1, np.diff(ends))
    weights = counts / sizes[:, None] * np.log1p(sizes.mean() / counts.sum(axis=0))
    weights[counts < np.minimum(2, sizes)[:, None]] = 0
    return [
        cluster.model_copy(update={"words": [str(names[i]) for i in np.argsort(-row, kind="stable")[:WORDS] if row[i]]})
        for cluster, row in zip(clusters, weights, strict=True)
    ]
