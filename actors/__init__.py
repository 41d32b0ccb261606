"""Who does the work and where it runs: thin Ray shells around ``services``.

The only code that imports Ray, and the only place of ``.remote(``. An actor's constructor does no I/O
and never raises: an exception in it during a restart would end the actor for good.
"""
