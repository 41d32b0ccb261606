"""Raft's shell: what ``services.consensus`` decides is persisted here, sent, and applied.

``node`` drives one member, ``storage`` is its disk, ``peers`` its connections, ``handshake`` who may speak,
``frames`` and ``wire`` how; ``machine`` is what a state machine has to do. Knows nothing of what is agreed
on, and no Ray.
"""
