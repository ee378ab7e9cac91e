"""Words that say what a cluster of texts is about, for people; no decision uses them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from router.arrays import IntArray

TEXT_LENGTH = 4000
"""Characters of a text that are looked at; what follows is mostly pasted output."""
WORD = r"(?u)\b[a-zA-Z][a-zA-Z]{2,29}\b"
"""Single words of letters: what has digits or underscores is an address or somebody's identifier."""
COMMONPLACE = """
actual behavior behaviour bug code current description example expected file following import issue line output print
problem python reproduce result return self steps test traceback using version versions
"""
"""Words of nearly every issue text."""
_HEX = frozenset("0123456789abcdefx-")
"""Characters of hexadecimal numbers, UUIDs included."""


def representative_words(
    texts: Sequence[str], labels: IntArray, clusters: int, count: int = 8
) -> list[tuple[str, ...]]:
    """Up to `count` words for each of `clusters`, the most telling first; none where its texts share no word.

    A word's weight is the share of the cluster's texts that hold it × log(1 + a cluster's mean size / texts that hold
    it): class-based TF-IDF (M. Grootendorst, BERTopic, arXiv 2203.05794) on counts of texts, so that one long log does
    not outweigh ten issues. A word has to occur in two texts of the cluster (in one where there is only one). Pieces of
    URLs, paths and hexadecimal numbers are no words.

    Args:
        texts: n texts.
        labels: (n,) cluster of each.
        clusters: their number k; some may be empty.
        count: words for each at most.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

    vectorizer = CountVectorizer(
        token_pattern=WORD, stop_words=sorted({*ENGLISH_STOP_WORDS, *COMMONPLACE.split()}), binary=True
    )
    try:
        holds = vectorizer.fit_transform([_prose(text) for text in texts])
    except ValueError:  # scikit-learn's "empty vocabulary": no text has a word
        return [()] * clusters
    names = vectorizer.get_feature_names_out()
    member = np.eye(clusters)[:, labels]
    counts = np.asarray((holds.T @ member.T).T)
    sizes = np.maximum(member.sum(axis=1), 1)
    weights = counts / sizes[:, None] * np.log1p(sizes.mean() / counts.sum(axis=0))
    weights[counts < np.minimum(2, sizes)[:, None]] = 0
    return [tuple(str(names[i]) for i in np.argsort(-row, kind="stable")[:count] if row[i]) for row in weights]


def _prose(text: str) -> str:
    """The head of a text without URLs, paths, addresses and hexadecimal numbers."""
    return " ".join(word for word in text[:TEXT_LENGTH].split() if not _is_address(word))


def _is_address(word: str) -> bool:
    slashes = word.count("/") + word.count("\\")
    if "://" in word or word.startswith("www.") or "@" in word or slashes > 1 or (slashes and "." in word):
        return True
    bare = word.strip("\"'`()[]{}<>.,:;*#").lower()
    return len(bare) >= 8 and _HEX.issuperset(bare)
