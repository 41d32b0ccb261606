"""The errors of this package.

::

    ConfigurationError        what an operator sees: every problem found, one per line
    UnfitValueError           inside the package: one value that its key cannot take

No text of either ever holds the value of a secret.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["ConfigurationError", "UnfitValueError"]


class ConfigurationError(Exception):
    """The configuration cannot be used. Each of ``problems`` names file, key, value and mend."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class UnfitValueError(ValueError):
    """What is wrong with one value, and what would be right; the reader adds file and key."""
