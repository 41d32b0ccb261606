"""Values in shell texts, through real shells: what is hostile is never executed (known-gaps.md 3.10)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from services.publish.shell_text import UnsafeValueError, shell_text
from tests.unit.publish.samples import facts

SHELLS = ("bash", "dash")
HOSTILE = (
    "'; touch x; '",
    '"; touch x; "',
    "$(touch x)",
    "`touch x`",
    "a\ntouch x\nb",
    "\\",
    "'\"'\"'; touch x #",
    "x) touch x ;; (",
    "${IFS}touch${IFS}x",
    "} ; touch x ; {",
    "EOF\ntouch x",
    "* ~ ! & | < > #",
    "back\\slash\\'",
)
CONTEXTS = (
    "printf %s {failedHost} >out",
    "printf %s '{failedHost}' >out",
    'printf %s "{failedHost}" >out',
    'printf %s "$(printf %s {failedHost}; echo .)" >out',
    "printf %s \"$(printf %s '{failedHost}'; echo .)\" >out",
    'printf %s "$(printf %s "{failedHost}"; echo .)" >out',
    "v=`printf %s '{failedHost}'; echo .`; printf %s \"$v\" >out",
    'v={failedHost}; printf %s "$v" >out',
    'printf %s "${nothing:-{failedHost}}" >out',
    "# don't {failedHost}\nprintf %s '{failedHost}' >out",
    'v=x\\\'{failedHost}; printf %s "${v#x?}" >out',
    "cat >out <<EOF\n{failedHost}\nEOF",
)
AWKWARD = (
    "case a in a) printf %s {failedHost};; esac >out",
    "v=$(case a in a) echo '{failedHost}';; esac); echo \"{failedHost}\" '{failedHost}' >out",
    "cat >out <<'EOF'\n{failedHost}'\nEOF\necho '{failedHost}' {failedHost}",
    "echo ${x#'{failedHost}'} ${y:-\"{failedHost}\"} $'it\\'s {failedHost}' >out",
    "echo \"a # ' {failedHost}\" a#'b' {failedHost} >out",
    "echo \"\\\\{failedHost}\" \\\\{failedHost} '\\'{failedHost} >out",
    "if test x; then (echo {failedHost}; echo '{failedHost}'); fi >out",
)


def run(command: str, value: str, shell: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    variables = facts(failed_host=value).variables()
    script = folder / "script"
    script.write_text(shell_text(command, variables, shell))
    return subprocess.run(
        [shell, str(script)],
        env={"PATH": "/usr/bin:/bin", **variables},
        cwd=folder,
        capture_output=True,
        timeout=20,
        check=False,
    )


def assert_nothing_was_executed(folder: Path) -> None:
    assert {entry.name for entry in folder.iterdir()} <= {"script", "out"}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("context", CONTEXTS)
def test_a_hostile_value_arrives_as_it_is(context: str, shell: str, tmp_path: Path) -> None:
    for value in HOSTILE:
        done = run(context, value, shell, tmp_path)
        assert_nothing_was_executed(tmp_path)
        assert done.stderr == b"", value
        assert (tmp_path / "out").read_text().removesuffix("\n").removesuffix(".") == value


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("context", AWKWARD)
def test_where_the_quoting_is_hard_to_read_nothing_is_executed(
    context: str, shell: str, tmp_path: Path
) -> None:
    for value in HOSTILE:
        run(context, value, shell, tmp_path)
        assert_nothing_was_executed(tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'echo {failedHost}'",
        "bash -ec \"echo '{failedHost}'\"",
        "ssh me@host 'echo {failedHost}'",
        'eval "echo {failedHost}"',
        "echo '{failedHost}' | sh",
        "echo '{failedHost}' | /bin/bash -s",
        "su - me -c 'echo {failedHost}'",
        "python3 -c 'print(\"{failedHost}\")'",
        "mysql -e \"INSERT INTO t VALUES ('{failedHost}')\"",
        "awk '/{failedHost}/' file",
        "echo $(( {failedHost} + 1 ))",
        "[[ {failedHost} -eq 1 ]]",
    ],
)
def test_where_another_program_would_read_it_as_code_it_is_refused(command: str) -> None:
    with pytest.raises(UnsafeValueError, match="ORC_FAILED_HOST in a script"):
        shell_text(command, facts(failed_host="x'; touch y; '").variables())
    assert "db-1.example" in shell_text(command, facts(failed_host="db-1.example").variables())


def test_our_own_descriptions_may_stand_anywhere() -> None:
    text = shell_text("ssh host 'logger {failureDescription}'", facts().variables())
    assert text == ("ssh host 'logger The master cannot be reached and none of its replicas is replicating'")


def test_an_interpreter_that_is_no_shell_gets_harmless_values_only() -> None:
    variables = facts(failure_cluster_alias='x"+evil()+"').variables()
    assert shell_text('print("{failedHost}")', variables, "/usr/bin/python3") == 'print("db1")'
    with pytest.raises(UnsafeValueError, match="for /usr/bin/python3"):
        shell_text('print("{failureClusterAlias}")', variables, "/usr/bin/python3")


@pytest.mark.parametrize(
    "command",
    [
        "echo 'Detected {failureType} on {failureCluster}. Affected replicas: {countSlaves}' >> /tmp/x",
        'echo "{failureType}: {failedHost}:{failedPort} {replicaHosts}"',
        'curl -d \'{"text": "{failureClusterAlias}"}\' http://x/{failedHost}',
        "for i in {1..{countReplicas}}; do echo $i; done",
    ],
)
def test_what_is_harmless_reads_as_orchestrator_would_have_it(command: str) -> None:
    values = {
        "{failureType}": "DeadMaster",
        "{failureCluster}": "db1:3306",
        "{countSlaves}": "2",
        "{countReplicas}": "2",
        "{failedHost}": "db1",
        "{failedPort}": "3306",
        "{replicaHosts}": "db2:3306,db3:3307",
        "{failureClusterAlias}": "orders",
    }
    expected = command
    for placeholder, value in values.items():
        expected = expected.replace(placeholder, value)
    assert shell_text(command, facts().variables()) == expected


def test_shell_variables_and_unknown_words_are_left_alone() -> None:
    command = "echo ${failedHost} {unknown} {a,b} \\{failedHost} $((1+2))"
    assert shell_text(command, facts().variables()) == command
