"""The kinds of sandbox that can be asked for."""

from __future__ import annotations

from services.sandbox.binaries import Mysqld, find_mariadbd, find_mysqld
from services.sandbox.containers import DEFAULT_IMAGE, find_in_image

__all__ = ["DEFAULT_KIND", "KINDS", "program_for"]

KINDS = ("mysql", "mariadb", "docker")
DEFAULT_KIND = "mysql"


def program_for(kind: str, image: str = DEFAULT_IMAGE) -> Mysqld:
    """What its servers run. ``image`` is for docker. Raises BinaryNotFoundError."""
    if kind == "docker":
        return find_in_image(image)
    return find_mariadbd() if kind == "mariadb" else find_mysqld()
