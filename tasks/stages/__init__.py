"""The stages that every task goes through, each one function that a command calls."""
