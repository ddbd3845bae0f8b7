"""The application with all its commands: each module registers its own."""

from tasks.commands import about, deploying, explaining, searching, starting, training  # noqa: F401
from tasks.commands.app import app

__all__ = ["app"]
