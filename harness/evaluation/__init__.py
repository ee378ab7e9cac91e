"""Everything that makes numbers of outcomes; harness/report shows them."""
