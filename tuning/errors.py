"""The error of the search; needs no KerasTuner."""

from common.errors import SeqloomError


class SearchError(SeqloomError, ValueError):
    """A search cannot start or has no result to show; the message says why."""
