"""Raft's shell: what ``services.consensus`` decides is persisted here, sent, and applied.

``node`` drives one member, ``storage`` is its disk, ``peers`` its connections, ``channel`` who may speak on
them, ``wire`` how; ``asking`` is what members ask each other beside the log; ``machine`` what a state machine
has to do. Knows nothing of what is agreed on, and no Ray.
"""
