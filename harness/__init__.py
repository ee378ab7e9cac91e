"""The run: configuration, instances, agents, official grading, store, results."""
