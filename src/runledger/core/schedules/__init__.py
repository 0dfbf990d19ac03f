"""Schedules: cron expressions, when they fire in a time zone, and what is due after a downtime."""
