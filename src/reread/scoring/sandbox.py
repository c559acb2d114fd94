"""Run a model's Python program where it can harm nothing: the only place where such code is ever run.

The program gets a process of its own (sandbox_child.py) that confines itself before the first line runs:

- seccomp: a list of allowed system calls; no sockets, no new processes (threads are allowed), no exec, no
  ptrace, no mounts, no signals to others, no changes to modes and owners of files;
- Landlock: reads the interpreter's own libraries, writes one temporary folder, nothing else;
- resource limits: processor time, memory, file size, open files, threads, no core dumps;
- another user where we are root and can show it the standard library and its folder, and no capabilities in
  any case; a process id namespace where the system allows one;
- an empty environment, `python -I -S` (the standard library alone), its own session; everything in it is
  killed at the wall-clock limit, at the output limit, and when it has filled its folder.

Where seccomp or Landlock cannot be had (not Linux, kernels before 5.13, other processors than x86_64 and
aarch64), it refuses to run anything unless told `unsafe_exec=True`.
"""

from __future__ import annotations

import json
import os
import random
import selectors
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reread.errors import UsageError

Status = Literal["ok", "error", "timeout", "memory", "output_limit", "disk_limit", "signal"]
DEFAULT_TIMEOUT_S = 6.0
"""LiveCodeBench's limit for one test."""
DEFAULT_MEMORY_MB = 1024
MAX_OUTPUT_BYTES = 8 << 20
MAX_FILE_MB = 16
MAX_FOLDER_BYTES = 64 << 20
FOLDER_LOOK_EVERY_S = 0.1
MAX_START_S = 20.0
"""Patience with the interpreter's own start on a busy machine; the program's time counts from its first
line."""
FIRST_UID, N_UIDS = 1 << 24, 1 << 20
"""User ids that belong to nobody: a fresh one for each run keeps runs from each other's processes."""

_CHILD = Path(__file__).with_name("sandbox_child.py")
_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
_HARMLESS = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/usr/share/zoneinfo", "/etc/localtime")


class SandboxUnavailable(UsageError):
    """This machine cannot confine a program."""


@dataclass(frozen=True, slots=True)
class SandboxResult:
    """What became of one program."""

    status: Status
    """"ok": it ended by itself with exit code 0; "error": with another one, or an exception; "memory": with a
    MemoryError; "timeout", "output_limit", "disk_limit": it was killed at that limit; "signal": it crashed."""
    exit_code: int
    """Negative: the signal that ended it."""
    stdout: str
    """At most MAX_OUTPUT_BYTES; bytes that are no UTF-8 are replaced."""
    stderr: str
    wall_s: float
    """Seconds from the program's first line to its end."""


def run_python(
    program: str,
    stdin: str = "",
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    memory_mb: int = DEFAULT_MEMORY_MB,
    name: str = "__main__",
    unsafe_exec: bool = False,
) -> SandboxResult:
    """Run a program under the confinement above and return its output and fate; never raises for what it
    does.

    timeout_s counts wall-clock seconds from its first line; name is what the program sees as __name__. Raises
    SandboxUnavailable where the confinement cannot be had; `unsafe_exec` then runs it with whatever there is.
    Cost: about 0.1 s a run beyond the program's own time.
    """
    if os.name != "posix":
        raise SandboxUnavailable("programs can be run on POSIX systems alone; score code on Linux")
    with (
        tempfile.TemporaryDirectory(prefix="reread-", ignore_cleanup_errors=True) as top,
        tempfile.TemporaryFile() as stdin_file,
    ):
        folder = Path(top) / "work"
        folder.mkdir(mode=0o700)
        source = folder / "main.py"
        source.write_bytes(program.encode("utf-8", "replace"))
        stdin_file.write(stdin.encode("utf-8", "replace"))
        stdin_file.seek(0)
        uid, library = None, None
        if os.geteuid() == 0 and _anyone_can_reach(str(Path(top).parent)):
            uid = FIRST_UID + random.SystemRandom().randrange(N_UIDS)
            os.chown(folder, uid, uid)
            os.chown(source, uid, uid)
            Path(top).chmod(0o711)
            if not _anyone_can_reach(_interpreter_paths()[0]):
                library = Path(top) / "library"
                library.mkdir(mode=0o755)
        ready_read, ready_write = os.pipe()
        settings = {
            "program": str(source),
            "folder": str(folder),
            "library": str(library) if library else None,
            "read": [*_interpreter_paths(), *([str(library)] if library else []), *_HARMLESS],
            "memory_mb": memory_mb,
            "cpu_s": int(timeout_s) + 2,
            "file_mb": MAX_FILE_MB,
            "uid": uid,
            "name": name,
            "strict": not unsafe_exec,
            "ready_fd": ready_write,
        }
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(_CHILD), json.dumps(settings)],
                stdin=stdin_file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={
                    "PATH": "/usr/bin:/bin",
                    "LC_ALL": "C.UTF-8",
                    "HOME": str(folder),
                    "TMPDIR": str(folder),
                },
                cwd=folder,
                start_new_session=True,
                pass_fds=(ready_write,),
            )
        except OSError:
            os.close(ready_read)
            raise
        finally:
            os.close(ready_write)
        try:
            return _Watch(process, ready_read, folder).until_end(timeout_s)
        finally:
            _kill(process)
            os.close(ready_read)
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


class _Watch:
    """Reads what a process writes, and kills it at the first limit that it passes."""

    def __init__(self, process: subprocess.Popen[bytes], ready: int, folder: Path) -> None:
        assert process.stdout is not None and process.stderr is not None
        self.process, self.ready, self.folder = process, ready, folder
        self.chunks: dict[int, bytearray] = {
            ready: bytearray(),
            process.stdout.fileno(): bytearray(),
            process.stderr.fileno(): bytearray(),
        }
        self.limit: Status | None = None

    def until_end(self, timeout_s: float) -> SandboxResult:
        began = time.monotonic()
        started: float | None = None
        looked = began
        with selectors.DefaultSelector() as selector:
            for fd in self.chunks:
                selector.register(fd, selectors.EVENT_READ)
            while selector.get_map():
                now = time.monotonic()
                deadline = began + MAX_START_S if started is None else started + timeout_s
                if now >= deadline:
                    self.limit = "timeout"
                    break
                for key, _ in selector.select(min(FOLDER_LOOK_EVERY_S, deadline - now)):
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        selector.unregister(key.fd)
                    self.chunks[key.fd] += data
                    if len(self.chunks[key.fd]) > MAX_OUTPUT_BYTES:
                        self.limit = "output_limit"
                if started is None and self.chunks[self.ready] == b"ready":
                    started = time.monotonic()
                if time.monotonic() - looked > FOLDER_LOOK_EVERY_S:
                    looked = time.monotonic()
                    if _folder_bytes(self.folder) > MAX_FOLDER_BYTES:
                        self.limit = "disk_limit"
                if self.limit is not None:
                    break
            exit_code = self._end(selector, (started or began) + timeout_s)
        wall_s = time.monotonic() - (started or began)
        announced = bytes(self.chunks[self.ready])
        if announced != b"ready":
            if self.limit == "timeout":
                raise SandboxUnavailable(
                    f"the sandbox did not start within {MAX_START_S:.0f} s; run fewer programs at once on this machine"
                )
            reason = announced.decode("utf-8", "replace").removeprefix("refused: ") or self._stderr()[-300:]
            raise SandboxUnavailable(
                f"this machine cannot confine a model's program ({reason}); "
                "score code on Linux 5.13 or later with seccomp and Landlock"
            )
        return SandboxResult(self._status(exit_code), exit_code, self._stdout(), self._stderr(), wall_s)

    def _end(self, selector: selectors.BaseSelector, deadline: float) -> int:
        """Wait for the end (a program may close its output and go on), kill what is left; the exit code."""
        if self.limit is None:
            try:
                self.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.limit = "timeout"
        _kill(self.process)
        code = self.process.wait()
        return 128 - code if code > 128 else code

    def _status(self, exit_code: int) -> Status:
        if self.limit is not None:
            return self.limit
        if exit_code == 0:
            return "ok"
        if exit_code < 0:
            return "timeout" if -exit_code == signal.SIGXCPU else "signal"
        return "memory" if self._stderr().rstrip().rsplit("\n", 1)[-1].startswith("MemoryError") else "error"

    def _stdout(self) -> str:
        assert self.process.stdout is not None
        return self.chunks[self.process.stdout.fileno()][:MAX_OUTPUT_BYTES].decode("utf-8", "replace")

    def _stderr(self) -> str:
        assert self.process.stderr is not None
        return self.chunks[self.process.stderr.fileno()][:MAX_OUTPUT_BYTES].decode("utf-8", "replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process' whole session; nothing where it has gone."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    if process.poll() is None:
        process.kill()
        process.wait()


def _folder_bytes(folder: Path) -> int:
    """Bytes below a folder, as far as they can be seen while it changes."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(f"{path}/{name}").st_size
            except OSError:
                continue
    return total


def _interpreter_paths() -> list[str]:
    """The standard library's folders, and where shared libraries lie."""
    own = dict.fromkeys(
        [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(sys.base_prefix) / "lib")]
    )
    return [*own, *_SYSTEM_LIBRARIES]


def _anyone_can_reach(path: str) -> bool:
    place = Path(path).resolve()
    return all(part.stat().st_mode & stat.S_IXOTH for part in (place, *place.parents))
