"""What goes wrong in a search by a person's hand; needs no KerasTuner."""

from common.errors import SeqloomError


class SearchError(SeqloomError, ValueError):
    """A search that cannot begin or has nothing to show; the message says why."""
