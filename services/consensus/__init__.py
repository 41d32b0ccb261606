"""Raft: who leads, what is agreed, what has to be on disk before it is said. Pure.

``core`` decides, ``log`` is what it holds, ``progress`` what a leader knows of its peers, ``messages`` what
they say to each other. Nothing here knows a clock, a socket, a disk or a thread; ``services.raft`` is the
shell that does. The rules and the contract with the shell stand at the head of ``core``.
"""
