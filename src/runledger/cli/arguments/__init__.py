"""The arguments of the program: every command, every option, and the help."""

from runledger.cli.arguments.parser import build_parser, check_together
from runledger.cli.arguments.place import DEFAULT_SERVER_NAME, SCHEMA_VARIABLE, URL_VARIABLES

__all__ = ["DEFAULT_SERVER_NAME", "SCHEMA_VARIABLE", "URL_VARIABLES", "build_parser", "check_together"]
