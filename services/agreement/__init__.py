"""What the members of a raft setup agree on: the store's decisions, proposed by one, applied by all.

``operations`` is the table of what is agreed, ``commands`` how a call becomes bytes and a call again,
``store`` the store whose changes are proposed, ``machine`` what every member does with them, ``tables`` the
state as a whole. Reads are local. Knows the store and raft, and nothing of servers.
"""
