"""Whole clusters of pure code under a virtual clock and a seed."""
