"""Who may act: a lease in the store gives a term and a deadline.

``lease`` decides and is pure, ``row`` is its row in the store, ``election`` is one process's seat. It
knows nothing of what is done by whoever leads.
"""
