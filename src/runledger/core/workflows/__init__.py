"""Workflows: the states of runs and steps, and what makes a valid request for them."""
