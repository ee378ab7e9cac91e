"""What a run reads: instances, texts to learn clusters from, their embeddings, and models' names."""
