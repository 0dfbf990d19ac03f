"""Development tools, started from the checkout as `python -m tools.<name>`; not in the distribution."""
