"""Puts the checkout on the import path of the tests."""
