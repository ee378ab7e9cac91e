"""Official grading: worker processes around swebench's own harness."""
