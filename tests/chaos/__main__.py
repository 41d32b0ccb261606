"""``scripts/chaos --minutes N --seed S [--setup raft|shared] [--json FILE]``: a setup under random faults.

Exit status 0: no rule was broken; 1: one was, and the folder with the evidence is named; 2: the run itself
failed.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

from services.sandbox.binaries import find_mysqld
from tests.chaos.checker import check
from tests.chaos.faults import Done, carry_out, roles_now
from tests.chaos.healing import heal
from tests.chaos.history import History
from tests.chaos.network import networked
from tests.chaos.plan import rounds
from tests.chaos.registrar import Registrar
from tests.chaos.report import as_text, summary
from tests.chaos.world import SETUPS, World
from tests.servers import remove_folders_of_killed_runs, short_directory

_WHO_IS_WHO_SECONDS = 60.0


def main(argv: Sequence[str] | None = None) -> int:
    given = _parse(argv)
    if given.judge:
        return _judge(given.judge)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    try:
        return _run(given)
    except KeyboardInterrupt:
        print("chaos: interrupted, everything is ended", file=sys.stderr)
        return 2
    except Exception:
        traceback.print_exc()
        print(f"chaos: the run failed; {_again(given)} repeats it", file=sys.stderr)
        return 2


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description="A whole setup under random faults.")
    parser.add_argument("--minutes", type=float, default=10, help="how long faults are made (10)")
    parser.add_argument("--seed", type=int, help="which faults (a new one each time)")
    parser.add_argument("--setup", choices=SETUPS, default="raft", help="of the nodes (raft)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")
    parser.add_argument("--evidence", type=Path, metavar="FOLDER", help="keep logs and history there")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="only judge a former run's history.json")
    given = parser.parse_args(argv)
    if given.judge and not given.judge.is_file():
        parser.error(f"--judge: there is no file {given.judge}")
    if given.minutes <= 0:
        parser.error("--minutes: more than 0")
    if given.seed is None:
        given.seed = secrets.randbelow(1_000_000)
    return given


def _judge(file: Path) -> int:
    violations = check(History.load(file))
    for one in violations:
        print(f"VIOLATION of {one.rule}: {one.text}")
    return 1 if violations else 0


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _again(given: argparse.Namespace) -> str:
    return f"scripts/chaos --minutes {given.minutes:g} --seed {given.seed} --setup {given.setup}"


def _run(given: argparse.Namespace) -> int:
    remove_folders_of_killed_runs()
    with ExitStack() as endings:
        network, why_not = endings.enter_context(networked())
        if why_not:
            _say(f"nothing will be cut: {why_not}")
        mysqld, folder = find_mysqld(), short_directory()
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        chance = random.Random(given.seed)
        lossless, net_timeout = chance.random() < 0.75, chance.choice([None, 10])
        _say(f"{_again(given)}: lossless semi-sync {'on' if lossless else 'off'}, in {folder}")
        world = World(
            mysqld, folder, network, endings, setup=given.setup, lossless=lossless, net_timeout=net_timeout
        )
        try:
            return _story(given, world, chance, endings)
        except Exception:
            _say(f"the evidence is in {_keep(world, given.evidence)}")
            raise


def _story(given: argparse.Namespace, world: World, chance: random.Random, endings: ExitStack) -> int:
    world.start()
    registrar = Registrar(world, random.Random(chance.random()))
    endings.callback(registrar.stop)
    registrar.start()
    _heal(world, registrar)
    done = _faults(given, world, registrar, chance)
    registrar.stop()
    world.client.stop()
    history = world.collect()
    violations = check(history)
    found = {"seed": given.seed, "setup": given.setup, "minutes": given.minutes}
    found |= summary(history, done, world.by_hand, violations)
    print(as_text(found), flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    if violations or given.evidence:
        _say(f"the evidence is in {_keep(world, given.evidence)}")
    if violations:
        _say(f"{len(violations)} violations; to repeat: {_again(given)}")
    return 1 if violations else 0


def _faults(
    given: argparse.Namespace, world: World, registrar: Registrar, chance: random.Random
) -> list[Done]:
    stop, done = threading.Event(), list[Done]()
    until = time.monotonic() + given.minutes * 60
    for number, plan in enumerate(rounds(given.seed, given.setup, can_cut=world.network.can_cut), start=1):
        roles = _roles(world, chance)
        said = [f"{one.kind} {one.way} {one.role} +{one.after:g} for {one.hold:g} s" for one in plan.faults]
        _say(f"round {number}: {'; '.join(said)}")
        made = carry_out(world, plan, roles, stop)
        done += made
        _say(f"round {number}: {', '.join(f'{one.kind} of {one.target or None}' for one in made)}")
        if not _heal(world, registrar) or time.monotonic() > until:
            return done
    raise AssertionError("the plan has no end")


def _roles(world: World, chance: random.Random) -> Any:
    deadline = time.monotonic() + _WHO_IS_WHO_SECONDS
    while (found := roles_now(world, chance.choice)) is None:
        assert time.monotonic() < deadline, "there is no acting node, or no master, in a healthy setup"
        time.sleep(0.2)
    return found


def _heal(world: World, registrar: Registrar) -> bool:
    """Whether all is well now."""
    healing = heal(world, registrar)
    world.history.healings.append(healing)
    said = f"NOT healed: {healing.complaint}" if healing.complaint else "healed"
    _say(f"{said} after {healing.seconds:.1f} s; {len(world.by_hand)} things done by hand so far")
    return not healing.complaint


def _keep(world: World, wanted: Path | None) -> Path:
    """Copy what tells the story out of the folder that is about to go."""
    kept = wanted or Path(tempfile.mkdtemp(prefix="orchestray-chaos-"))
    kept.mkdir(parents=True, exist_ok=True)
    world.history.save(kept / "history.json")
    (kept / "by-hand.txt").write_text("\n".join(world.by_hand))
    for server in getattr(world.topology, "_made", ()):
        for file in (server.general_log_file, server.error_log):
            if file.exists():
                shutil.copy(file, kept / f"{server.name}-{server.port}-{file.name}")
    for node in world.nodes:
        for life, said in enumerate(node.all_said()):
            (kept / f"{node.name}-life{life}.log").write_text(said)
    return kept


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
