"""Two connections, real locks."""
