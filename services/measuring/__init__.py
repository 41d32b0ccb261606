"""What a node has just done and how long it took: samples kept for minutes, and figures made of them.

Knows nothing of who takes the samples or who asks for the figures.
"""
