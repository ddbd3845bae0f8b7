"""The ground that every package stands on: settings, errors, files."""
