"""The documentation is tested: its programs and queries run, its tables are compared with the code."""
