"""What is known, what is wrong, what to do about it, and the I/O to do it. Knows no actors and no HTTP."""

VERSION = "0.1.0"
"""Shown by the API; the same as in pyproject.toml."""
