"""The one error that bad input raises."""


class DataError(ValueError):
    """Input that cannot be used.

    The message is one sentence that names the file, line, column or value and the way out; the
    command line prints it alone and exits with 2.
    """
