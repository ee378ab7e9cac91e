"""`python -m harness` is `polyswe`."""

from harness.cli import main

main()
