"""The SQL lock: what each SQL file takes and gives, described by PostgreSQL and kept under version control.

``python -m tools.sql_lock`` writes it, ``--check`` compares. A contract test drives the operations against it, so a
change of SQL, schema or record that the others do not follow fails before anything runs.
"""
