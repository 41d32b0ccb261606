"""Files: where they are looked for, how they are merged, and what a bad one says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.config import ConfigurationError, Settings, load, loading
from services.config.files import MAX_FILE_BYTES
from tests.unit.config.helpers import problems_of, write


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{\n  "Debug": true,\n}', "line 2, column 16: a comma stands before the closing bracket; remove it"),
        (
            '{"SSLValidOUs": ["a",]}',
            "line 1, column 21: a comma stands before the closing bracket; remove it",
        ),
        ('{\n  // debug\n  "Debug": true}', "line 2, column 3: JSON has no comments; remove it"),
        ('{"Debug": true # on\n}', "line 1, column 16: JSON has no comments; remove it"),
        ('{"Debug": true, /* on */ "ReadOnly": true}', "line 1, column 17: JSON has no comments; remove it"),
        ("{'Debug': true}", "line 1, column 2: JSON has no single quotes; use double quotes"),
        ('{"Debug" true}', "line 1, column 10: is not JSON: Expecting ':' delimiter"),
        ('{"Debug": true', "line 1, column 15: the file ends too early (Expecting ',' delimiter)"),
        ('{"Debug": yes}', "line 1, column 11: is not JSON: Expecting value"),
        ("{} {}", "line 1, column 4: something follows the closing brace; a file is one JSON object"),
        (
            '{"WebMessage": "NaN",\n "A": NaN}',
            "line 2, column 7: NaN and Infinity are not JSON; write a number",
        ),
        ('{"A": -Infinity}', "line 1, column 7: NaN and Infinity are not JSON; write a number"),
        ("[]", "is not a JSON object; it must begin with { and end with }"),
        ('"text"', "is not a JSON object; it must begin with { and end with }"),
        ("", "is empty; write a JSON object, at least {}"),
        (" \n", "is empty; write a JSON object, at least {}"),
        ("[" * 100_000, "is nested too deeply; the configuration is one flat JSON object"),
        (b'{\n"WebMessage": "\xfc"}', "line 2: is not UTF-8; save the file as UTF-8"),
        ('{"Debug": true}'.encode("utf-16"), "line 1: is not UTF-8; save the file as UTF-8"),
        (b"\xef\xbb\xbf{}", "begins with a byte order mark; save it as UTF-8 without one"),
    ],
)
def test_a_file_that_is_not_json_says_where_and_what(content: object, problem: str, tmp_path: Path) -> None:
    assert problems_of(content, tmp_path) == [problem]


def test_a_number_of_any_length_is_only_out_of_range(tmp_path: Path) -> None:
    (problem,) = problems_of('{"InstancePollSeconds": ' + "9" * 5_000_000 + "}", tmp_path)
    assert problem.startswith("InstancePollSeconds: 999")
    assert "out of range" in problem
    (problem,) = problems_of('{"DeadInstancePollSecondsMultiplyFactor": 1e999}', tmp_path)
    assert "out of range" in problem


def test_all_problems_of_all_files_are_reported_together(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"Debug": 1, "ReadOnly": True, "InstancePolSeconds": 3})
    two = write(tmp_path / "two", '{"Debug": true,}')
    three = write(tmp_path / "three", {"DefaultInstancePort": 0})
    with pytest.raises(ConfigurationError) as caught:
        load([one, two, three])
    assert str(caught.value).split("\n") == [
        f"{one}: Debug: 1 is a number; give true or false, without quotes",
        f"{one}: InstancePolSeconds: is not a known key; did you mean InstancePollSeconds?",
        f"{two}: line 1, column 15: a comma stands before the closing bracket; remove it",
        f"{three}: DefaultInstancePort: 0 is out of range; give a whole number from 1 to 65535",
    ]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "none"
    with pytest.raises(ConfigurationError) as caught:
        load([path])
    assert str(caught.value) == (
        f"{path}: cannot be read: No such file or directory; create it or correct the path"
    )


def test_a_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a directory; name the file in it"):
        load([tmp_path])


def test_a_path_that_cannot_exist_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: embedded null byte"):
        load([Path("/tmp/a\0b")])


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.symlink_to(path)  # a fault that root meets too
    with pytest.raises(
        ConfigurationError, match="cannot be read: Too many levels of symbolic links; make it"
    ):
        load([path])


@pytest.mark.timeout(10)
def test_a_named_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="is no regular file"):
        load([tmp_path / "pipe"])


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "f", "{}" + " " * MAX_FILE_BYTES)
    with pytest.raises(ConfigurationError, match=f"is larger than {MAX_FILE_BYTES} bytes"):
        load([path])
    assert load([write(path, "{}" + " " * (MAX_FILE_BYTES - 2))]).warnings == ()


def test_later_files_override_keys_replace_lists_and_merge_maps(tmp_path: Path) -> None:
    one = write(
        tmp_path / "one",
        {
            "InstancePollSeconds": 2,
            "Debug": True,
            "PowerAuthUsers": ["a", "b"],
            "ClusterNameToAlias": {"x": "1", "y": "1"},
        },
    )
    two = write(
        tmp_path / "two",
        {"instancepollseconds": 3, "PowerAuthUsers": ["c"], "ClusterNameToAlias": {"y": "2", "z": "2"}},
    )
    loaded = load([one, two])
    assert loaded.settings.InstancePollSeconds == 3
    assert loaded.settings.Debug is True
    assert loaded.settings.PowerAuthUsers == ("c",)
    assert dict(loaded.settings.ClusterNameToAlias) == {"x": "1", "y": "2", "z": "2"}
    assert loaded.sources == (one, two)
    assert load([two, one]).settings.PowerAuthUsers == ("a", "b")


def test_without_files_the_defaults_hold() -> None:
    loaded = load([])
    assert loaded.sources == ()
    assert loaded.settings.InstancePollSeconds == Settings().InstancePollSeconds


def test_the_default_locations() -> None:
    assert [str(path) for path in loading.DEFAULT_LOCATIONS] == [
        "/etc/orchestrator.conf.json",
        "conf/orchestrator.conf.json",
        "orchestrator.conf.json",
    ]


def test_default_locations_that_exist_are_read_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "DEFAULT_LOCATIONS", (Path("etc/o"), Path("conf/o"), Path("o")))
    monkeypatch.chdir(tmp_path)
    assert load(None).sources == ()
    (tmp_path / "conf").mkdir()
    write(tmp_path / "conf" / "o", {"InstancePollSeconds": 2, "Debug": True})
    write(tmp_path / "o", {"InstancePollSeconds": 3})
    loaded = load(None)
    assert loaded.sources == (tmp_path / "conf" / "o", tmp_path / "o")
    assert (loaded.settings.InstancePollSeconds, loaded.settings.Debug) == (3, True)


def test_a_default_location_that_exists_and_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "DEFAULT_LOCATIONS", (tmp_path,))
    with pytest.raises(ConfigurationError, match="is a directory"):
        load(None)
