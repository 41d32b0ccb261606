"""Runs a plan step by step: fence check, journal, do, verify; undoes what it may; resumes after a crash.

It decides nothing about who is promoted: ``services.planning`` does.
"""
