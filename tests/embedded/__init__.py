"""Tests of the embedded PostgreSQL server: real processes, real kills."""
