"""Pages and charts of runs and searches. None of the packages that it imports may import it."""
