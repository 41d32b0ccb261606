"""Configuration files to settings, all or nothing.

Order of events: each source is read on the defaults, later ones over earlier ones (lists replace, maps
merge); credentials files override users and passwords; ``${NAME}`` in secrets is replaced; the rules between
keys are checked; derived values are filled in. Every problem found on the way is reported at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from services.config.credentials import read_credentials
from services.config.errors import ConfigurationError, UnfitValueError
from services.config.files import read_json_object
from services.config.kinds import shown
from services.config.names import canonical_name, is_ignored, nearest_key
from services.config.rules import RULES, adjusted, remarks
from services.config.settings import KEYS, Settings
from services.config.values import FrozenMap, Secret

__all__ = [
    "DEFAULT_LOCATIONS",
    "LoadedConfiguration",
    "changed_keys",
    "from_mapping",
    "load",
    "needs_restart",
    "reload",
    "settings_for_demo",
]

DEFAULT_LOCATIONS = (
    Path("/etc/orchestrator.conf.json"),
    Path("conf/orchestrator.conf.json"),
    Path("orchestrator.conf.json"),
)
"""Without ``--config``, each of these that exists is read, in this order."""

_MAX_KEYS = 1000
_VARIABLE = re.compile(r"\$\{([^{}=]+)\}")
_CREDENTIALS = (
    ("MySQLOrchestratorCredentialsConfigFile", "MySQLOrchestratorUser", "MySQLOrchestratorPassword"),
    ("MySQLTopologyCredentialsConfigFile", "MySQLTopologyUser", "MySQLTopologyPassword"),
)


@dataclass(frozen=True, slots=True)
class _Layer:
    """One source of values: where they come from, for texts, and the pairs as written."""

    origin: str
    pairs: tuple[tuple[str, object], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class LoadedConfiguration:
    """Settings and where they came from. Safe to show: secrets are masked."""

    settings: Settings
    warnings: tuple[str, ...] = ()
    """One line each, naming source and key; for the log at start and for the health page."""
    sources: tuple[Path, ...] = ()
    """The configuration files, absolute, in the order read; a reload reads them again."""
    strict: bool = False
    _base: tuple[_Layer, ...] = field(default=(), repr=False)


def load(
    paths: Sequence[Path] | None, *, strict: bool = False, env: Mapping[str, str] = os.environ
) -> LoadedConfiguration:
    """Read configuration files, later ones over earlier ones; None reads the default locations.

    With ``strict``, unknown and obsolete keys are errors instead of warnings. Raises ConfigurationError with
    every problem of every file. Without any file the settings are the defaults.
    """
    files = _present(DEFAULT_LOCATIONS) if paths is None else paths
    return _assemble((), tuple(path.absolute() for path in files), strict, env)


def from_mapping(
    mapping: Mapping[str, object],
    origin: str = "settings",
    *,
    strict: bool = False,
    env: Mapping[str, str] = os.environ,
) -> LoadedConfiguration:
    """Settings from values of the same shape as a file's, checked in the same way."""
    return _assemble((_Layer(origin, tuple(mapping.items())),), (), strict, env)


def settings_for_demo(
    data_file: Path,
    listen: str = "127.0.0.1:3000",
    overrides: Mapping[str, object] | None = None,
    *,
    env: Mapping[str, str] = os.environ,
) -> LoadedConfiguration:
    """What runs without a configuration file: SQLite in ``data_file``, every cluster recovered."""
    demo = {
        "BackendDB": "sqlite",
        "SQLite3DataFile": str(data_file),
        "ListenAddress": listen,
        "RecoverMasterClusterFilters": ["*"],
    }
    layers = (_Layer("demo", tuple(demo.items())), _Layer("overrides", tuple((overrides or {}).items())))
    return _assemble(layers, (), False, env)


def reload(
    previous: LoadedConfiguration, extra: Path | None = None, *, env: Mapping[str, str] = os.environ
) -> LoadedConfiguration:
    """Read the files of ``previous`` again, starting from the defaults, so that a removed key is undone.

    ``extra`` is read after them and belongs to the sources from then on. Raises ConfigurationError;
    ``previous`` stays as it is, and valid, in any case.
    """
    sources = previous.sources
    if extra is not None and extra.absolute() not in sources:
        sources = (*sources, extra.absolute())
    return _assemble(previous._base, sources, previous.strict, env)


def changed_keys(old: Settings, new: Settings) -> tuple[str, ...]:
    """The keys whose values differ, in the order of the table."""
    return tuple(
        entry.name for entry in fields(Settings) if getattr(old, entry.name) != getattr(new, entry.name)
    )


def needs_restart(keys: Iterable[str]) -> tuple[str, ...]:
    """Those of the given keys whose change takes effect only when the service is restarted."""
    return tuple(name for name in keys if name in KEYS and KEYS[name].restart)


def _assemble(
    base: tuple[_Layer, ...], files: tuple[Path, ...], strict: bool, env: Mapping[str, str]
) -> LoadedConfiguration:
    draft = _Draft(strict)
    for layer in base:
        draft.add(layer)
    for path in files:
        draft.add_file(path)
    draft.take_credentials()
    draft.expand_secrets(env)
    draft.check_rules()
    if draft.problems:
        raise ConfigurationError(draft.problems)
    return LoadedConfiguration(draft.settings(), tuple(draft.warnings), files, strict, base)


class _Draft:
    """Values as they gather, with the problems met; of use only inside _assemble."""

    def __init__(self, strict: bool) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self._strict = strict
        self._values: dict[str, Any] = {}
        self._origins: dict[str, str] = {}
        self._spoilt: set[str] = set()  # keys with a problem of their own: no rule speaks of them
        self._incomplete = False  # a file could not be read: rules would guess

    def settings(self) -> Settings:
        """The finished settings; call only when there are no problems."""
        raw = Settings(**self._values)
        for name, text in remarks(raw, self._values.keys()):
            self.warnings.append(f"{self._origin(name)}: {name}: {text}")
        return adjusted(raw)

    def add_file(self, path: Path) -> None:
        try:
            document = read_json_object(path)
        except ConfigurationError as error:
            self.problems += error.problems
            self._incomplete = True
        else:
            self.add(_Layer(str(path), document.pairs))

    def add(self, layer: _Layer) -> None:
        """Take the values of one source; those of earlier ones give way."""
        if len(layer.pairs) > _MAX_KEYS:
            self.problems.append(f"{layer.origin}: has {len(layer.pairs)} keys; is it a configuration file?")
            self._incomplete = True
            return
        seen: dict[str, str] = {}
        for written, value in layer.pairs:
            name = canonical_name(written)
            earlier = seen.get(name or written)
            seen[name or written] = written
            if name is None:
                if earlier is None:  # old files repeat keys such as "#" for comments
                    self._unknown(layer.origin, written)
            elif earlier is None:
                self._set(layer.origin, name, value)
            else:
                self._repeated(layer.origin, earlier, written)

    def _set(self, origin: str, name: str, value: object) -> None:
        try:
            fit = KEYS[name].kind.read(value)
        except UnfitValueError as error:
            self._problem(origin, name, str(error))
            return
        earlier = self._values.get(name)
        if isinstance(fit, FrozenMap) and isinstance(earlier, FrozenMap):
            fit = FrozenMap({**earlier, **fit})
        self._values[name] = fit
        self._origins[name] = origin

    def _repeated(self, origin: str, earlier: str, written: str) -> None:
        both = f"{_name_shown(earlier)} is given twice"
        if earlier != written:
            both = f"{_name_shown(earlier)} and {_name_shown(written)} are the same key"
        self.problems.append(f"{origin}: {both}; keep one of them")

    def _unknown(self, origin: str, written: str) -> None:
        shown_name = _name_shown(written)
        if is_ignored(written):
            text = "was a key of earlier versions of orchestrator and has no effect; it can be removed"
            self._mild(f"{origin}: {shown_name}: {text}")
            return
        meant = nearest_key(written)
        if meant is None:
            self._mild(
                f"{origin}: {shown_name}: is not a known key and is ignored; remove it or correct its name"
            )
        else:
            self.problems.append(f"{origin}: {shown_name}: is not a known key; did you mean {meant}?")
            self._spoilt.add(meant)

    def _mild(self, text: str) -> None:
        (self.problems if self._strict else self.warnings).append(text)

    def _problem(self, origin: str, name: str, text: str) -> None:
        self.problems.append(f"{origin}: {name}: {text}")
        self._spoilt.add(name)

    def take_credentials(self) -> None:
        """Let users and passwords of credentials files override those of the configuration."""
        for file_key, user_key, password_key in _CREDENTIALS:
            path = self._values.get(file_key)
            if not path:
                continue
            try:
                found = read_credentials(Path(path))
            except ConfigurationError as error:
                for problem in error.problems:
                    self._problem(self._origin(file_key), file_key, problem)
                continue
            if found.user is not None:
                self._set(path, user_key, found.user)
            if found.password is not None:
                self._set(path, password_key, found.password)

    def expand_secrets(self, env: Mapping[str, str]) -> None:
        """Replace secrets of the form ``${NAME}`` by environment variables."""
        for name, value in self._values.items():
            match = _VARIABLE.fullmatch(value.reveal()) if isinstance(value, Secret) else None
            if match is None:
                continue
            variable = match[1]
            if variable in env:
                self._set(self._origin(name), name, env[variable])
            else:
                text = (
                    f"the environment variable {shown(variable)} is not set; set it where the service starts"
                )
                self._problem(self._origin(name), name, text)

    def check_rules(self) -> None:
        if self._incomplete:
            return
        raw = Settings(**self._values)
        for rule in RULES:
            if self._spoilt.isdisjoint(rule.keys):
                text = rule.broken(raw)
                if text:
                    self.problems.append(f"{self._origin(*rule.keys)}: {text}")

    def _origin(self, *names: str) -> str:
        """Where the given keys were set; "defaults" if nowhere."""
        origins = dict.fromkeys(self._origins[name] for name in names if name in self._origins)
        return " and ".join(origins) or "defaults"


def _name_shown(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_]{1,80}", name) else shown(name)


def _present(locations: Collection[Path]) -> list[Path]:
    """Those that exist; one that cannot even be looked at counts, so that reading it says why."""
    present = []
    for path in locations:
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass
        present.append(path)
    return present
