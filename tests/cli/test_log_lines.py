from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from runledger.cli.log_lines import logging_to_standard_error


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    level = logger.level
    yield logger
    logger.setLevel(level)


def test_loggers_of_the_application_are_written_from_the_level_on_and_only_in_the_block(
    capsys: pytest.CaptureFixture[str], root: logging.Logger
) -> None:
    root.setLevel(logging.ERROR)
    handlers = root.handlers.copy()

    with logging_to_standard_error(level="info", style="text"):
        logging.getLogger("shop.mail").info("sent")
        logging.getLogger("shop.mail").debug("details")

    assert capsys.readouterr().err.endswith("Z INFO sent\n")
    assert root.level == logging.ERROR
    assert root.handlers == handlers
