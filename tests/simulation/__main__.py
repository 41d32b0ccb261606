"""``scripts/simulate-raft --seeds N [--first SEED]``: by hand; a line for each seed that breaks a promise."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.chaos import story


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulate-raft", description="Raft's core under a simulator.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    given = parser.parse_args()
    started, broken, counts = time.process_time(), 0, Counter[str]()
    for seed in range(given.first, given.first + given.seeds):
        try:
            world = story(seed)
        except Exception as error:
            broken += 1
            print(f"seed {seed}: {error!r}", flush=True)
            continue
        counts["acknowledged"] += len(world.checker.acknowledged)
        counts["terms"] += len(world.checker.leaders)
    took = time.process_time() - started
    print(
        f"{given.seeds} seeds, {counts['acknowledged']} acknowledged commands, {counts['terms']} terms, "
        f"{broken} broken, {took:.0f} s of CPU"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
