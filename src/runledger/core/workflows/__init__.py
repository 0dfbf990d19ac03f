"""Workflows: the states of runs and steps."""
