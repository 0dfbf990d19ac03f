"""``python -m benchmarks.worker_program URL CONFIGURATION``: workers as an application deploys them, in a process.

Each line on standard input asks for something, and one line of JSON answers: ``start`` begins to claim, ``report``
tells what was done and used. The end of the input stops it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from benchmarks.resident_memory import resident_bytes
from benchmarks.workload import Countdown, no_op_registry, tuned_config
from runledger import JobsConfig, Supervisor

CONFIGURATIONS = {"default": JobsConfig, "tuned": tuned_config}


async def main(url: str, configuration: str) -> None:
    """Answer until the input ends."""
    countdown = Countdown(sys.maxsize)
    supervisor = Supervisor(url, no_op_registry(countdown), CONFIGURATIONS[configuration]())
    is_started = False
    try:
        while request := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if request == "start":
                await supervisor.start()
                is_started = True
            report = {
                "executed": countdown.calls,
                "cpu_seconds": time.process_time(),
                "resident_bytes": resident_bytes(),
            }
            print(json.dumps(report), flush=True)
    finally:
        if is_started:
            await supervisor.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
