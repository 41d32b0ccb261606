"""The configuration: every key of the file under its own name, checked, reloadable.

What other packages use::

    load, from_mapping, settings_for_demo   → LoadedConfiguration(settings, warnings, sources)
    reload, changed_keys, needs_restart     the same files again, and what that changes
    Settings, Secret, FrozenMap             the values
    ConfigurationError                      all problems found, one per line
    cluster_matches, endpoint_matches, hostname_matches, hold_down_milliseconds
    parse_listen_address                    ":3000" → ("", 3000)

It is imported by the command line client: only the standard library, and nothing slow. It knows nothing of
Ray, MySQL, stores or logging; whoever loads a configuration logs its warnings.
"""

from __future__ import annotations

from services.config.addresses import parse_listen_address
from services.config.errors import ConfigurationError
from services.config.filters import (
    cluster_matches,
    endpoint_matches,
    hold_down_milliseconds,
    hostname_matches,
)
from services.config.loading import (
    DEFAULT_LOCATIONS,
    LoadedConfiguration,
    changed_keys,
    from_mapping,
    load,
    needs_restart,
    reload,
    settings_for_demo,
)
from services.config.settings import KEYS, OWN_KEYS, Settings
from services.config.values import FrozenMap, Secret

__all__ = [
    "DEFAULT_LOCATIONS",
    "KEYS",
    "OWN_KEYS",
    "ConfigurationError",
    "FrozenMap",
    "LoadedConfiguration",
    "Secret",
    "Settings",
    "changed_keys",
    "cluster_matches",
    "endpoint_matches",
    "from_mapping",
    "hold_down_milliseconds",
    "hostname_matches",
    "load",
    "needs_restart",
    "parse_listen_address",
    "reload",
    "settings_for_demo",
]
