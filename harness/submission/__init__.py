"""Leaderboard submissions: one run as the two trees that SWE-bench/experiments takes, checked before it is written.

`collect` reads a finished run, `write` lays the trees out in a folder aside, `check` reads them back and re-derives
every verdict, and only a package without a fault is moved to its place. `check` alone reads packages of others, too.
"""
