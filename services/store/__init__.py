"""What must survive: instances, identities, registrations, recoveries and their journal, audit.

SQLAlchemy Core over SQLite, MySQL or MariaDB. It keeps and refuses; it knows nothing of servers,
settings or why a recovery is begun. Start with ``store.Store``; ``errors`` draws what it may answer
instead.
"""
