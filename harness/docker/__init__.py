"""The Docker Engine and the images on it."""
