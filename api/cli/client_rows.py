"""A row of the table of commands: what a command needs, asks and prints.

A path is a template over the options, made fit for a URL: ``{instance}`` and ``{destination}`` are
``host/port``, ``{to}`` is ``/host/port`` of the destination or nothing, ``{hint}`` is the alias or else
the raw text of ``-i``, ``{instances}`` is that text, and the others are percent-encoded texts.
"""

from __future__ import annotations

from dataclasses import dataclass

from api.cli.client_printing import Printer

__all__ = ["HINT", "Command", "ask", "change"]

HINT = "instance|alias"


@dataclass(frozen=True, slots=True)
class Command:
    names: tuple[str, ...]
    description: str
    path: str
    show: Printer
    needs: tuple[str, ...] = ()
    """Fields of Options that may not be empty; ``a|b``: one of them."""
    changes: bool = False
    """It alters something: it is not asked again while it may have been carried out."""
    asks_leader: bool = False
    """Local to a raft node: the state of the endpoint must be Leader first."""


def ask(names: str, path: str, show: Printer, needs: str, description: str, **more: bool) -> Command:
    """A row of the table. ``names`` and ``needs`` are blank-separated."""
    return Command(tuple(names.split()), description, path, show, tuple(needs.split()), **more)


def change(names: str, path: str, show: Printer, needs: str, description: str, **more: bool) -> Command:
    return ask(names, path, show, needs, description, changes=True, **more)
