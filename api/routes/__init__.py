"""The routes of the HTTP API by subject; `call` has what they share.

Paths are written as the reference writes them (``instance/:host/:port``). A module has one router for
what reads and one for what changes; who may change is decided in one place, for the whole router.
"""
