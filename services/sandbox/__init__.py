"""Real MySQL and MariaDB servers on loopback, to try orchestray on and to test it against.

Knows how to find or fetch a server program, how to start, stop, kill and pause servers, and how to lay
replication between them. Must not know what orchestray does with them: no analysis, no recovery, no
store. Linux only: processes are told apart by what ``/proc`` says of them. All calls block and are
bounded; call them from a thread where an event loop runs.
"""
