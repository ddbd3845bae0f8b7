"""The commands: each reads its flags, calls one stage, and shows the result."""
