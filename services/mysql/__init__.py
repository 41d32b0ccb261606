"""One MySQL server: connecting, statements per flavour and version, polls, watching, acting.

The only package that speaks the MySQL protocol. It knows nothing of clusters, of who may act, or of
what should be done: it does what it is told to one server, within a bound, and says how that went.
"""
