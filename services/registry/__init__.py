"""The live topology of one node, in memory: merges what probes report, says what that changed.

It keeps no connection and no file. What must survive is handed to it at start and taken from it by its
owner, the topology actor.
"""
