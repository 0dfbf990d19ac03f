"""Whole processes against PostgreSQL: what an application can rely on, whatever happens to them."""
