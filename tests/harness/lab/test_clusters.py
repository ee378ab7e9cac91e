"""General clusters from a corpus: numbers only, described, and free of texts that know the instances."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.errors import InputError
from harness.lab.clusters import ClusterSettings, learn_clusters
from router.policies.hypernova import read_centroids


def test_a_corpus_becomes_centroids_and_their_description(tmp_path: Path) -> None:
    corpus, tasks, out = tmp_path / "corpus.jsonl", tmp_path / "tasks.jsonl", tmp_path / "general.npz"
    rows = [{"id": f"sort/{k}", "text": f"Sort a list of {k} numbers", "source": "sorting"} for k in range(4)]
    rows += [{"id": f"http/{k}", "text": f"The server answers {400 + k}", "source": "web"} for k in range(4)]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks.write_text(json.dumps({"instance_id": "a__b-1", "problem_statement": "the server  answers 402"}) + "\n")
    with pytest.raises(InputError, match="http/2 is the evaluation instance a__b-1"):
        learn_clusters(str(corpus), out, ClusterSettings(clusters=2, tasks=str(tasks)))
    settings = ClusterSettings(clusters=2, tasks=str(tasks), drop_leaks=True)
    learn_clusters(str(corpus), out, settings)
    described = json.loads(out.with_suffix(".json").read_text())
    assert described["texts_by_source"] == {"sorting": 4, "web": 4 - described["dropped_for_leaks"]}
    assert described["dropped_for_leaks"] >= 1
    assert sorted(described["cluster_sizes"]) == sorted(described["texts_by_source"].values()), "one cluster a topic"
    assert described["compared_with"] == "tasks"
    assert read_centroids(out).shape == (2, 384)
    with np.load(out, allow_pickle=False) as stored:
        assert [(name, stored[name].dtype) for name in stored] == [("centroids", np.float32)]
    first = out.read_bytes()
    learn_clusters(str(corpus), out, settings)
    assert out.read_bytes() == first, "the same recipe, the same bytes"


def test_what_cannot_be_clustered_is_said(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"text": "one"}) + "\n")
    with pytest.raises(InputError, match="n_clusters=20 must be between 1 and the 1 rows"):
        learn_clusters(str(tmp_path / "corpus.jsonl"), tmp_path / "general.npz")
    with pytest.raises(InputError, match=r"ends in \.npz"):
        learn_clusters(str(tmp_path / "corpus.jsonl"), tmp_path / "general.json")
