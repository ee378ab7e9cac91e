"""What helps to read results and decides nothing: clusters in words, breakdowns by repository and difficulty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.evaluation.breakdown import break_down
from harness.evaluation.cluster_words import with_words
from harness.evaluation.schema import Results
from router.outcomes import OutcomeMatrix


def described(
    results: Results,
    outcomes: OutcomeMatrix,
    texts: Mapping[str, str],
    labels: Mapping[str, Sequence[str | None]],
) -> Results:
    """The document with each cluster's words, and with the pool's rates by group.

    Args:
        results: the document without them.
        outcomes: n instances × m models.
        texts: issue text by instance id. Empty: neither words nor the clusters' instances are kept, so that a document
            of somebody else's dataset holds numbers only.
        labels: by kind, (n,) the label of each instance, see `break_down`.
    """
    if texts:
        clusters = with_words(results.clusters, texts)
    else:
        clusters = [cluster.model_copy(update={"words": [], "instances": []}) for cluster in results.clusters]
    return results.model_copy(update={"clusters": clusters, "groups": break_down(outcomes, labels)})
