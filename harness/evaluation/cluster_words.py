"""Words that say what a cluster is about, for people who read the report; no decision uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.evaluation.schema import ClusterProfile
from router.words import representative_words

WORDS = 6
"""Words of a cluster in the report."""


def with_words(clusters: Sequence[ClusterProfile], texts: Mapping[str, str]) -> list[ClusterProfile]:
    """The clusters with their representative words, most telling first.

    Args:
        clusters: with the ids of their instances; returned as they are when those are unknown.
        texts: issue text by instance id.
    """
    known = [[texts[name] for name in cluster.instances if name in texts] for cluster in clusters]
    if not any(known):
        return list(clusters)
    labels = np.repeat(np.arange(len(known)), [len(of_cluster) for of_cluster in known])
    words = representative_words([text for of_cluster in known for text in of_cluster], labels, len(known), WORDS)
    return [cluster.model_copy(update={"words": list(own)}) for cluster, own in zip(clusters, words, strict=True)]
