"""Hooks as real processes: their order, bounds and environment (known-gaps.md 3.9, 9.7)."""

# ruff: noqa: ASYNC240 - the folders of a test are here and small

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from services.config import from_mapping
from services.policies import hook_policy
from services.publish.hooks import HookKind, HookPolicy, HookRunner
from tests.servers import wait_until, wait_until_async
from tests.unit.publish.samples import facts, promoted

KIND = HookKind.POST_FAILOVER


class Said(list[str]):
    async def __call__(self, message: str) -> None:
        self.append(message)


def runner(*commands: str, **policy: Any) -> HookRunner:
    made = HookPolicy(commands={KIND: commands}, **policy)
    return HookRunner(lambda: made)


async def run(*commands: str, to_the_end: bool = True, **policy: Any) -> tuple[tuple[str, ...], Said]:
    said = Said()
    work = runner(*commands, **policy).run(KIND, promoted(), said, to_the_end=to_the_end)
    return await asyncio.wait_for(work, 30), said


async def test_one_after_another_each_with_exit_code_and_output() -> None:
    failures, said = await run(
        "sleep 0.05; echo one", "echo two; echo err >&2; exit 3", "echo {successorHost}"
    )
    assert failures == ("PostFailoverProcesses 2 of 3: exit code 3",)
    assert [line.partition(" in ")[0] for line in said] == [
        "PostFailoverProcesses 1 of 3 begins: sleep 0.05; echo one",
        "PostFailoverProcesses 1 of 3 ended",
        "PostFailoverProcesses 2 of 3 begins: echo two; echo err >&2; exit 3",
        "PostFailoverProcesses 2 of 3 ended",
        "PostFailoverProcesses 3 of 3 begins: echo {successorHost}",
        "PostFailoverProcesses 3 of 3 ended",
    ]
    assert said[1].endswith("exit code 0; output: one")
    assert said[3].endswith("exit code 3; output: two\nerr")
    assert said[5].endswith("output: db2")


async def test_the_first_failure_stops_the_list_where_it_decides(tmp_path: Path) -> None:
    failures, _ = await run("exit 1", f"touch {tmp_path}/second", to_the_end=False)
    assert failures == ("PostFailoverProcesses 1 of 2: exit code 1",)
    assert list(tmp_path.iterdir()) == []


async def test_the_environment_has_every_variable_and_nothing_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRAY_PASSWORD", "swordfish!")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "token-of-ray")
    monkeypatch.setenv("ORC_SUCCESSOR_HOST", "stale")
    monkeypatch.setenv("WEBHOOK", "https://hooks.example")
    settings = from_mapping(
        {
            "MySQLTopologyPassword": "${ORCHESTRAY_PASSWORD}",
            "SQLite3DataFile": "x",
            "BackendDB": "sqlite",
            KIND.value: ["env", "echo swordfish! >&2"],
            "HookOutputBytes": 1_000_000,
        },
        env=os.environ,
    ).settings
    said = Said()
    hooks = HookRunner(lambda: hook_policy(settings))
    assert await hooks.run(KIND, facts(), said, to_the_end=True) == ()
    lines = said[1].partition("output: ")[2].splitlines()
    environment = dict(line.split("=", 1) for line in lines if "=" in line)
    assert environment["WEBHOOK"] == "https://hooks.example"
    assert environment["ORC_FAILED_HOST"] == "db1"
    assert "ORC_SUCCESSOR_HOST" not in environment
    assert not [name for name in environment if name.startswith("RAY_") or name == "ORCHESTRAY_PASSWORD"]
    assert not any("swordfish" in line for line in said), "neither in a command nor in an output"
    assert said[-1].endswith("output: ***")


async def test_a_hook_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    """One child runs on in the background, one ignores SIGTERM."""
    pids = tmp_path / "pids"
    command = (
        f"sleep 300 & echo $! >>{pids}; sh -c \"trap '' TERM; echo \\$\\$ >>{pids}; sleep 300; sleep 300\" & "
        f"echo $$ >>{pids}; echo begun; wait"
    )
    began = time.monotonic()
    failures, said = await run(command, "echo next", seconds=0.5)
    assert time.monotonic() - began < 10
    assert failures == ("PostFailoverProcesses 1 of 2: was ended, because it took longer than 0.5 s",)
    assert said[1].endswith("output: begun")
    assert said[3].endswith("output: next")
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 3
    for pid in started:
        wait_until(lambda pid=pid: not _runs(pid), 5, f"process {pid} has ended")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def test_what_a_hook_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    """It holds the output open, and is left alone."""
    pid_file = tmp_path / "pid"
    began = time.monotonic()
    failures, said = await run(f"sleep 20 & echo $! >{pid_file}; echo done")
    assert time.monotonic() - began < 10
    assert failures == ()
    assert said[1].endswith("output: done")
    pid = int(pid_file.read_text())
    assert _runs(pid)
    os.kill(pid, 9)


async def test_only_the_head_and_the_tail_of_an_output_are_kept() -> None:
    _, said = await run(
        "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last", output_bytes=300
    )
    output = said[1].partition("output: ")[2]
    assert output.startswith("first\nxxx")
    assert output.endswith("xxx\nlast")
    assert "bytes left out" in output
    assert len(output) < 400


async def test_it_has_no_input_and_none_of_our_files() -> None:
    _, said = await run("cat; ls /proc/self/fd | tr '\\n' ' '; echo; ps -o pid=,sid= -p $$")
    descriptors, ids = said[1].partition("output: ")[2].split("\n")
    # 3 is the folder that ls reads; the shell's script is its own and not passed on.
    assert descriptors.split() == ["0", "1", "2", "3"]
    pid, session = ids.split()
    assert pid == session, "a session of its own: no signal of ours reaches it"


async def test_one_that_is_not_waited_for_is_bounded_too_and_its_end_is_said(tmp_path: Path) -> None:
    said = Said()
    hooks = runner(
        f"while ! test -e {tmp_path}/go; do sleep 0.02; done; exit 4 &",
        "sleep 300 & ",
        asynchronous_seconds=5,
    )
    began = time.monotonic()
    assert await hooks.run(KIND, facts(), said, to_the_end=True) == ()
    assert time.monotonic() - began < 3
    assert [line for line in said if "begins, not waited for" in line] == said
    (tmp_path / "go").touch()
    await wait_until_async(lambda: len(said) == 4, 15)
    assert "1 of 2 ended" in said[2]
    assert "exit code 4" in said[2]
    assert "took longer than 5 s" in said[3]


async def test_one_that_is_cancelled_after_its_time_is_killed_though_it_ignores_sigterm(
    tmp_path: Path,
) -> None:
    told = tmp_path / "told"
    text = f"trap 'echo $$ >{told}' TERM; while :; do sleep 0.05; done"
    work = asyncio.ensure_future(run(text, seconds=1))
    await wait_until_async(lambda: told.exists() and told.read_text().strip(), 10)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    wait_until(lambda: not _runs(int(told.read_text())), 5)


async def test_an_interpreter_that_is_not_there_is_a_failure_that_names_it() -> None:
    failures, _ = await run("echo", interpreter="/no/such/shell")
    assert failures == (
        "PostFailoverProcesses 1 of 1: cannot be started: /no/such/shell: No such file or directory",
    )


async def test_a_hook_of_an_unquotable_value_is_not_run_and_says_so() -> None:
    said = Said()
    hooks = runner("ssh {failedHost} uptime")
    failures = await hooks.run(KIND, facts(failed_host="$(reboot)"), said, to_the_end=True)
    assert len(failures) == 1
    assert "the value of {failedHost} has characters that cannot be quoted" in failures[0]
    assert "use the environment variable ORC_FAILED_HOST" in said[0]


async def test_the_loop_is_not_held_up_while_a_hook_runs() -> None:
    work = asyncio.ensure_future(run("sleep 0.3"))
    turns = 0
    while not work.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert turns > 20


async def test_cancelled_it_ends_what_it_runs(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    work = asyncio.ensure_future(run(f"echo $$ >{pid_file}; sleep 300"))
    pid = int(await wait_until_async(lambda: pid_file.exists() and pid_file.read_text().strip()))
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    wait_until(lambda: not _runs(pid), 5)


async def test_empty_commands_are_passed_over() -> None:
    assert await run(" ", "&", "") == ((), [])
    assert not runner(" ", "&").has(KIND)
    assert runner(" ", "true &").has(KIND)


async def test_no_script_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    await run("ls $0", "exit 1", "sleep 300", seconds=0.2)
    assert list(tmp_path.iterdir()) == []


async def test_a_signal_that_is_blocked_here_is_not_blocked_there() -> None:
    """As SIGINT is in a Ray actor: what a hook starts could never be interrupted."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        _, said = await run("grep SigBlk /proc/self/status")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert said[1].endswith("0000000000000000")
