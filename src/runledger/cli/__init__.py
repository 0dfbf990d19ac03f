"""The command ``runledger``: migrate and check the tables, run a worker, read the story of a job.

Importing it loads argparse and little more; each command loads what it needs when it runs.
"""

from runledger.cli.program import main

__all__ = ["main"]
