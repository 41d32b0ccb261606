"""Telling the world: hooks. What to tell and when is decided elsewhere; here it is told, within bounds.

``facts`` and ``shell_text`` are pure; ``processes`` and ``hooks`` run programs. Nothing here knows of servers
or stores, nor of configuration keys other than those of the hooks.
"""
