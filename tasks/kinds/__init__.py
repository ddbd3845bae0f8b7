"""Kinds of task: what a task is, and the ways to be one."""
