"""``python -m runledger.cli``: the command ``runledger``, where its script is not on the path."""

import sys

from runledger.cli.program import main

sys.exit(main())
