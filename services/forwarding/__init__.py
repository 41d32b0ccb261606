"""Passing a change on to the node that acts, in the name of its caller.

The node that was asked knows who calls and whether they may; the node that acts believes it, because the
request is signed with a secret that only the nodes of the setup have (``signing``). It cannot be used twice:
whoever acts hands out a challenge first, which it takes back once (``challenges``), so that nothing depends
on the clocks of two hosts. A request that was passed on is not passed on again.
"""
