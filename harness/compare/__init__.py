"""Two runs side by side: what changed, what re-running alone would have changed, and whether a gate should close.

`load` reads runs, outcome files and leaderboard rows; `pairs` compares two outcomes on common instances; `noise` says
how many flips mean nothing; `clusters` looks at kinds of problems and at the routing table; `rules` is the gate's
grammar; `compare` puts it together and `render` writes it down.
"""
