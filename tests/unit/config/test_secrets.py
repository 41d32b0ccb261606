"""Secrets: where they may come from, and that nothing shows them."""

from __future__ import annotations

import json
import pickle
import traceback
from pathlib import Path

import pytest

from services.config import KEYS, ConfigurationError, Secret, from_mapping, load, reload
from tests.unit.config.helpers import loaded, problem_with, write

SECRETS = [name for name, key in KEYS.items() if key.is_secret]
HIDDEN = "tops3cret"


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret(HIDDEN)
    assert secret.reveal() == HIDDEN
    for text in (repr(secret), str(secret), f"{secret}", "%s" % secret, repr([secret]), f"{secret!r:>20}"):  # noqa: UP031
        assert HIDDEN not in text
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert secret == Secret(HIDDEN)
    assert secret != Secret("")
    assert secret != HIDDEN
    assert bool(secret)
    assert not Secret()
    assert pickle.loads(pickle.dumps(secret)) == secret
    assert len({secret, Secret(HIDDEN)}) == 1


def test_no_text_of_a_configuration_shows_a_secret() -> None:
    configuration = from_mapping(dict.fromkeys(SECRETS, HIDDEN))
    assert all(getattr(configuration.settings, name).reveal() == HIDDEN for name in SECRETS)
    for text in (repr(configuration), str(configuration), repr(configuration.settings)):
        assert HIDDEN not in text
        assert "***" in text


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("wrong", [[HIDDEN], {HIDDEN: HIDDEN}, HIDDEN + "\0", HIDDEN + "\ud800"])
def test_no_error_shows_a_secret(name: str, wrong: object) -> None:
    problem = problem_with({name: wrong})
    assert problem.startswith(f"{name}: ")
    assert HIDDEN not in problem


@pytest.mark.parametrize(
    "content",
    [
        f'{{"MySQLTopologyPassword": "{HIDDEN}" "x"}}',
        f'{{"MySQLTopologyPassword": "{HIDDEN}',
        f'{{"MySQLTopologyPassword": {HIDDEN}}}',
        f'{{"MySQLTopologyPassword": "{HIDDEN}", "A": NaN}}',
        f'{{"MySQLTopologyPasword": "{HIDDEN}"}}',
        f'{{"HTTPAdvertise": "http://me:{HIDDEN}@h:3000"}}',
    ],
)
def test_no_error_of_a_file_shows_a_secret_not_even_in_what_it_was_raised_from(
    content: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load([write(tmp_path / "f", content)])
    error: BaseException | None = caught.value
    assert HIDDEN not in "".join(traceback.format_exception(caught.value))
    while error is not None:
        assert HIDDEN not in repr(vars(error)) + repr(error)
        error = error.__context__


@pytest.mark.parametrize("name", SECRETS)
def test_a_variable_of_the_environment_may_hold_any_secret(name: str) -> None:
    settings = from_mapping({name: "${ORC_SECRET}"}, env={"ORC_SECRET": HIDDEN}).settings
    assert getattr(settings, name).reveal() == HIDDEN


@pytest.mark.parametrize("name", SECRETS)
def test_an_unset_variable_is_an_error(name: str) -> None:
    assert problem_with({name: "${ORC_SECRET}"}, env={"ORC_SECRETS": "x"}) == (
        f'{name}: the environment variable "ORC_SECRET" is not set; set it where the service starts'
    )


def test_an_empty_variable_is_an_empty_secret() -> None:
    configuration = from_mapping({"HTTPAuthPassword": "${X}"}, env={"X": ""})
    assert configuration.settings.HTTPAuthPassword == Secret("")


@pytest.mark.parametrize("text", ["a${X}", "${X}b", "$X", "${}", "${X", "$${X}"])
def test_only_the_whole_form_is_a_variable(text: str) -> None:
    configuration = from_mapping({"HTTPAuthPassword": text}, env={"X": "no"})
    assert configuration.settings.HTTPAuthPassword.reveal() == text


def test_what_a_variable_holds_is_not_expanded_again() -> None:
    configuration = from_mapping({"HTTPAuthPassword": "${X}"}, env={"X": "${Y}", "Y": "no"})
    assert configuration.settings.HTTPAuthPassword.reveal() == "${Y}"


def test_other_keys_are_not_expanded() -> None:
    assert from_mapping({"WebMessage": "${X}"}, env={"X": "no"}).settings.WebMessage == "${X}"


@pytest.mark.parametrize("which", ["Topology", "Orchestrator"])
def test_a_credentials_file_overrides_user_and_password(which: str, tmp_path: Path) -> None:
    path = write(
        tmp_path / "cnf", f"# ours\n[mysqld]\nuser = no\n\n[client]\nuser = orc\npassword = {HIDDEN}\n"
    )
    settings = loaded(
        **{
            f"MySQL{which}CredentialsConfigFile": str(path),
            f"MySQL{which}User": "plain",
            f"MySQL{which}Password": "${UNSET}",
        }
    ).settings
    assert getattr(settings, f"MySQL{which}User") == "orc"
    assert getattr(settings, f"MySQL{which}Password").reveal() == HIDDEN


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("password=a b", "a b"),
        ("  PASSWORD  =  x  ", "x"),
        ("password = x # note", "x"),
        ('password = "a#b;c\\"d\\\\e"', 'a#b;c"d\\e'),
        ('password = "x" ; note', "x"),
        ("password = 'a\"#b'", 'a"#b'),
        ("password = a=b%c${d", "a=b%c${d"),
        ("password =", ""),
        ("password = x\r", "x"),
        ("password = ä\u2028b", "ä\u2028b"),
    ],
)
def test_the_value_in_a_credentials_file(line: str, password: str, tmp_path: Path) -> None:
    path = write(
        tmp_path / "cnf",
        f"[ Client ] # ours\n; note\nport = 1\nskip-name\n{line}\n[mysql]\npassword=no\n".encode(),
    )
    settings = loaded(MySQLTopologyCredentialsConfigFile=str(path), MySQLTopologyUser="plain").settings
    assert settings.MySQLTopologyPassword.reveal() == password
    assert settings.MySQLTopologyUser == "plain"


def test_a_variable_in_a_credentials_file(tmp_path: Path) -> None:
    path = write(tmp_path / "cnf", "[client]\npassword = ${ORC}\n")
    mapping = {"MySQLTopologyCredentialsConfigFile": str(path)}
    settings = from_mapping(mapping, env={"ORC": HIDDEN}).settings
    assert settings.MySQLTopologyPassword.reveal() == HIDDEN
    with pytest.raises(ConfigurationError) as caught:
        from_mapping(mapping, env={})
    assert str(caught.value).startswith(f'{path}: MySQLTopologyPassword: the environment variable "ORC"')


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "has neither user nor password under [client]; add them"),
        ("[mysqld]\nuser=x\n", "has neither user nor password under [client]; add them"),
        (f"[client]\npassword = {HIDDEN};x\n", "line 2: the password is ambiguous; put it in double quotes"),
        (f'[client]\npassword = "{HIDDEN}\n', "line 2: the password is ambiguous; put it in double quotes"),
        (
            f"[client]\npassword = '{HIDDEN}' x\n",
            "line 2: the password is ambiguous; put it in double quotes",
        ),
        ("[client]\nuser\n", "line 2: the user is ambiguous; put it in double quotes"),
        (b"[client]\nuser=\xff\n", "line 2: is not UTF-8; save the file as UTF-8"),
        (None, "cannot be read: No such file or directory; create it or correct the path"),
    ],
)
def test_a_bad_credentials_file_is_an_error(content: object, what: str, tmp_path: Path) -> None:
    path = tmp_path / "cnf"
    if content is not None:
        write(path, content)
    problem = problem_with({"MySQLTopologyCredentialsConfigFile": str(path)})
    assert problem == f"MySQLTopologyCredentialsConfigFile: {path}: {what}"


def test_a_reload_reads_credentials_and_environment_again(tmp_path: Path) -> None:
    credentials = write(tmp_path / "cnf", "[client]\npassword = one\n")
    file = write(
        tmp_path / "f",
        {"MySQLTopologyCredentialsConfigFile": str(credentials), "HTTPAuthPassword": "${X}"},
    )
    first = load([file], env={"X": "1"})
    write(credentials, "[client]\npassword = two\n")
    second = reload(first, env={"X": "2"})
    assert second.settings.MySQLTopologyPassword.reveal() == "two"
    assert second.settings.HTTPAuthPassword.reveal() == "2"
