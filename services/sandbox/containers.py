"""A server program in containers of one image, run by the engine that ``docker`` finds.

A container shares the host's network, so that its server listens on loopback like any other, and the
folders of its server under their own paths; it runs as our user. So its process can be seen, signalled and
asked as if it had been started here. It is removed when it ends.

What must die with this process has its standard input from it: at the end of that a shell in the container
kills the server.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.sandbox.binaries import Mysqld
from services.sandbox.errors import BinaryNotFoundError, ServerFailedError
from services.sandbox.flavours import MARIADB, MYSQL
from services.sandbox.processes import Child, Process

__all__ = ["DEFAULT_IMAGE", "ContainerMysqld", "connected_engine", "end_containers", "find_in_image"]

DEFAULT_IMAGE = "mysql:8.4"

_LABEL = "orchestray.sandbox"  # its value is the folder of the server
_USUAL_SOCKET = "unix:///var/run/docker.sock"
_ENGINE_SECONDS = 60  # one answer of the engine
_START_SECONDS = 20.0
_MOST_SAID = 2000
_SERVE = """
log=$1; shift
exec 3<&0
"$@" >>"$log" 2>&1 3<&- </dev/null & server=$!
(cat <&3 >/dev/null; kill -9 $server) &
wait $server
"""
_DETACHED = 'log=$1; shift; exec "$@" >>"$log" 2>&1'


@dataclass(frozen=True, slots=True)
class ContainerMysqld(Mysqld):
    """``path`` is the program's name inside ``image``."""

    image: str = DEFAULT_IMAGE

    @property
    def identity(self) -> str:
        return f"{self.image} {self.version}"

    def run(
        self, arguments: Sequence[str], *, folder: Path, timeout_seconds: float, script: str = ""
    ) -> subprocess.CompletedProcess[str]:
        assert not script, "only MariaDB reads one"
        command = [str(self.path), *arguments]
        with _engine(timeout_seconds) as engine:
            code, said = _run(engine, self.image, command, folder, timeout_seconds)
        return subprocess.CompletedProcess(command, code, "", said)

    def spawn(self, arguments: Sequence[str], *, log: Path, directory: Path, die_with_parent: bool) -> Child:
        script = _SERVE if die_with_parent else _DETACHED
        command = ["-c", script, "sh", str(log), str(self.path), *arguments]
        log.touch(mode=0o600)
        try:
            return _Container(self.image, command, directory, attached=die_with_parent)
        except OSError as error:
            said = log.read_text(errors="replace")[-_MOST_SAID:]
            raise ServerFailedError(f"no container of {self.image} runs: {error}\n{said}") from error


class _Container:
    """A ``Child`` that runs in a container of its own. Raises OSError if it does not."""

    def __init__(self, image: str, command: list[str], folder: Path, *, attached: bool) -> None:
        self._engine = engine = connected_engine(_ENGINE_SECONDS)
        self._input: Any = None
        self._id = ""
        import docker

        try:
            made = engine.api.create_container(
                image,
                command,
                entrypoint=["sh"],
                user=_user(),
                labels={_LABEL: str(folder)},
                stdin_open=attached,
                host_config=engine.api.create_host_config(
                    binds=[f"{folder}:{folder}"], network_mode="host", auto_remove=True
                ),
            )
            self._id = made["Id"]
            if attached:
                self._input = engine.api.attach_socket(self._id, {"stdin": 1, "stream": 1})
            engine.api.start(self._id)
            self.pid = self._find(command[-1])
            self._process = Process.of(self.pid)
        except (docker.errors.DockerException, OSError) as error:
            with contextlib.suppress(
                docker.errors.DockerException, OSError
            ):  # it has ended, or was never made
                engine.api.remove_container(self._id, force=True)
            self._release()
            raise OSError(str(error)) from error

    def poll(self) -> int | None:
        return None if self._process.is_alive else 1  # the code is gone with the container

    def wait(self, timeout: float | None = None) -> int:
        if not self._process.wait_gone(_ENGINE_SECONDS if timeout is None else timeout):
            raise subprocess.TimeoutExpired("container", timeout or _ENGINE_SECONDS)
        self._release()
        return 1

    def _release(self) -> None:
        if self._input is not None:
            raw = self._input._sock  # which nobody closes who closes the stream
            self._input.close()
            raw.close()
            self._input = None
        self._engine.close()

    def _find(self, last_argument: str) -> int:
        """The server's pid on this host: not the shell's, which has the same arguments."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            for pid, command in self._engine.api.top(self._id, "-eo pid,args")["Processes"]:
                if command.endswith(last_argument) and not command.startswith("sh "):
                    return int(pid)
            time.sleep(0.02)
        raise OSError(f"no server runs in it after {_START_SECONDS} s")


def find_in_image(image: str) -> Mysqld:
    """The MySQL server of an image, which is pulled if it is not there.

    Raises BinaryNotFoundError: no engine, no such image, or no MySQL 8.4 or newer in it.
    """
    with _engine(_ENGINE_SECONDS) as engine:
        import docker

        try:
            engine.images.get(image)
        except docker.errors.ImageNotFound:
            try:
                engine.images.pull(image)
            except (docker.errors.DockerException, OSError) as error:
                text = (
                    f"the image {image} is not there and could not be pulled ({error}); name one with --image"
                )
                raise BinaryNotFoundError(text) from error
        try:
            command = ["mysqld", "--no-defaults", "--version"]
            code, said = _run(engine, image, command, None, _ENGINE_SECONDS)
        except OSError as error:
            raise BinaryNotFoundError(f"the image {image} has no mysqld that runs: {error}") from error
    match = re.search(r"Ver (\d+)\.(\d+)(\.[\w.-]+)?", said)
    if code != 0 or match is None:
        raise BinaryNotFoundError(f"the image {image} has no mysqld that runs: {said.strip()[-300:]}")
    if MARIADB.name in said.lower() or (int(match[1]), int(match[2])) < MYSQL.minimum_version:
        raise BinaryNotFoundError(f"the image {image} has {match[0]}; MySQL 8.4 or newer is needed")
    return ContainerMysqld(Path("mysqld"), match[0].removeprefix("Ver "), image=image)


def end_containers(folder: Path) -> None:
    """Kill those of servers below ``folder``, whoever started them. Raises BinaryNotFoundError."""
    with _engine(_ENGINE_SECONDS) as engine:
        import docker

        for container in engine.containers.list(filters={"label": _LABEL}, ignore_removed=True):
            if Path(container.labels[_LABEL]).is_relative_to(folder):
                with contextlib.suppress(docker.errors.APIError):  # it has ended by itself
                    container.kill()


def _run(
    engine: Any, image: str, command: list[str], folder: Path | None, timeout_seconds: float
) -> tuple[int, str]:
    """Exit code and output. Raises OSError or subprocess.TimeoutExpired."""
    import docker

    try:
        container = engine.containers.create(
            image,
            command[1:],
            entrypoint=command[:1],
            user=_user(),
            network_mode="none",
            volumes=[f"{folder}:{folder}"] if folder else [],
        )
        try:
            container.start()
            code = container.wait(timeout=timeout_seconds)["StatusCode"]
            return int(code), container.logs().decode(errors="replace")
        finally:
            container.remove(force=True)
    except docker.errors.DockerException as error:
        raise OSError(f"{image}: {error}") from error


def _user() -> str:
    return f"{os.geteuid()}:{os.getegid()}"


def _engine(timeout_seconds: float) -> contextlib.closing[Any]:
    return contextlib.closing(connected_engine(timeout_seconds))


def connected_engine(timeout_seconds: float) -> Any:
    """A client of the engine that DOCKER_HOST names, or the usual one; the caller closes it.

    Raises BinaryNotFoundError.
    """
    try:
        import docker
    except ModuleNotFoundError:
        mend = "pip install 'orchestray[docker]'"
        raise BinaryNotFoundError(f"the docker package is missing; to mend it: {mend}") from None
    try:
        _dial(os.environ.get("DOCKER_HOST") or _USUAL_SOCKET, timeout_seconds)
        return docker.from_env(timeout=timeout_seconds)
    except (docker.errors.DockerException, OSError) as error:
        text = f"no Docker engine answers ({error}); start one, or say with DOCKER_HOST where it is"
        raise BinaryNotFoundError(text) from error


def _dial(address: str, timeout_seconds: float) -> None:
    """Raises OSError if nobody listens on a socket; the package would leak its own then."""
    scheme, _, path = address.partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dialled:
            dialled.settimeout(timeout_seconds)
            dialled.connect(path)
