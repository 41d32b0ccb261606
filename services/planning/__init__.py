"""What to do about what is wrong: candidates ranked with reasons, plans and refusals as data.

Pure. A plan says what each step expects, does, verifies and undoes; ``services.execution`` runs it.
"""
