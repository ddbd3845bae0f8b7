"""Errors that a person can act on; all have one base class.

The message is one sentence that names the file, line, column, flag or value and the way out; the
command line prints it alone and exits with 2.
"""


class SeqloomError(Exception):
    """Anything that bad input, a bad setting or a missing file can cause."""


class DataError(SeqloomError, ValueError):
    """Input that cannot be used."""


class WriteError(SeqloomError, OSError):
    """A file or directory that cannot be written; the message names it and the reason."""


class ConfigError(SeqloomError, ValueError):
    """A setting that cannot be used; the message names it and what would do."""
