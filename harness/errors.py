"""What can go wrong, one type per cause a user can act on. Every message is one line: the culprit and the mend."""

EXIT_OK = 0
"""Everything asked for was done and every cell has a verdict."""
EXIT_FINDINGS = 1
"""A check or a comparison found what it was asked to look for; what was looked at could be read."""
EXIT_INPUT = 2
"""A file, name or setting given by the user cannot be used."""
EXIT_ENVIRONMENT = 3
"""Something is missing on this machine: engine, image, embedder, key, disk."""
EXIT_INCOMPLETE = 4
"""The run ended, but cells have no verdict, or attempts no tests, because of failures that were not the models'."""
EXIT_INTERNAL = 70
"""An error in polyswe itself. Nothing was found about what was looked at."""
EXIT_INTERRUPTED = 130
"""Stopped by the user; what was finished is kept and the same command continues."""


class PolysweError(Exception):
    """Base of all errors that are shown as one line instead of a traceback."""

    exit_code = EXIT_INPUT


class InputError(PolysweError):
    """A file, a name or a setting given by the user is unusable."""


class ConfigError(InputError):
    """The configuration has an unknown key, a missing key or an impossible value."""


class RunMismatchError(InputError):
    """The run folder holds outcomes obtained under another configuration."""


class EnvironmentUnavailableError(PolysweError):
    """Something this machine needs is missing."""

    exit_code = EXIT_ENVIRONMENT


class MixedPackagesError(EnvironmentUnavailableError):
    """Another distribution's files lie in our packages, or ours come from several places."""


class EngineUnavailableError(EnvironmentUnavailableError):
    """No Docker Engine answers."""


class ImageUnavailableError(EnvironmentUnavailableError):
    """An instance's image is neither here nor can it be pulled or built."""

    kind = "missing"
    """missing, rate-limit, registry, or disk."""


class DiskFullError(EnvironmentUnavailableError):
    """The disk was full while a cell was at work, and the cell's commands met that."""


class NodeLostError(EnvironmentUnavailableError):
    """A node of the cluster died, or turned out unfit, while a cell was at work there."""

    paid = 0.0
    """USD that the attempt's calls had cost until then."""


class RunLockedError(PolysweError):
    """Another process is working in the same run folder."""

    exit_code = EXIT_ENVIRONMENT
