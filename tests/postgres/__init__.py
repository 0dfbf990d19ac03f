"""The operations on a real PostgreSQL, what they are made of, and the driver under them."""
