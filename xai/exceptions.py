"""The errors that the toolkit raises on purpose, each with the exit code of the command line.

::

    XaiError
    ├── RequestError          exit 2: the request is wrong
    │   ├── ConfigError           a config key or value
    │   ├── DetectorError         weights, architecture or predictions that cannot be used
    │   ├── RunError              a run or profile directory that cannot be opened
    │   └── OutputError           what was made cannot be written: disk full, read-only
    └── DataError             exit 3: the data is unusable

Every message says what was expected, what came, where, and what to do, in one or two lines.
"""

from __future__ import annotations


class XaiError(Exception):
    """Base of all errors that are meant for the user."""

    exit_code = 2


class RequestError(XaiError):
    """The request is wrong: config or arguments."""


class ConfigError(RequestError):
    """A config key or value cannot be used."""


class DetectorError(RequestError):
    """A detector cannot be loaded or does not do what its adapter needs."""


class RunError(RequestError):
    """A run or profile directory is missing, incomplete or from another version."""


class OutputError(RequestError):
    """What was made cannot be written: the disk is full, or the folder read-only."""


class DataError(XaiError):
    """The data set is unusable: nothing in it, or more than ``data.max_bad`` of it is bad."""

    exit_code = 3
