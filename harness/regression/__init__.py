"""Regression tests that cost little: smoke sets with a stated power, and a gate that stops as soon as it knows."""
