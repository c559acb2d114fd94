"""The sandbox: honest programs run, hostile ones harm nothing and end in time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reread.scoring import sandbox
from reread.scoring.sandbox import SandboxResult, SandboxUnavailable, run_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are confined on Linux alone")


def run(program: str, stdin: str = "", timeout_s: float = 3.0) -> SandboxResult:
    return run_python(program, stdin, timeout_s=timeout_s)


# Honest programs


def test_output_and_input_go_through() -> None:
    result = run("print(input()[::-1]); import sys; print('note', file=sys.stderr)", "olleh\n")
    assert (result.status, result.exit_code, result.stdout, result.stderr) == ("ok", 0, "hello\n", "note\n")


def test_text_of_every_script_goes_through() -> None:
    assert run("print(input())", "żółw 数学 🙂").stdout == "żółw 数学 🙂\n"


def test_long_input_and_output_do_not_block_each_other() -> None:
    line = "x" * 1000 + "\n"
    result = run(
        "import sys\nfor line in sys.stdin: print(line, end=''); print(line, end='', file=sys.stderr)", line * 2000
    )
    assert result.status == "ok"
    assert len(result.stdout) == len(result.stderr) == 2000 * len(line)


def test_exception_is_an_error_with_its_traceback() -> None:
    result = run("def f():\n    return 1 / 0\nf()\n")
    assert result.status == "error"
    assert result.stderr.startswith('Traceback (most recent call last):\n  File "main.py", line 3')
    assert result.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_exit_code_is_reported() -> None:
    assert (run("raise SystemExit(3)").status, run("raise SystemExit(3)").exit_code) == ("error", 3)


def test_standard_library_threads_and_deep_recursion_work() -> None:
    program = """
import bisect, collections, datetime, decimal, fractions, functools, hashlib, heapq, itertools, json, math, random
import re, sqlite3, string, sys, threading, typing, unittest, zoneinfo
sys.setrecursionlimit(100_000)
def depth(n): return 0 if n == 0 else 1 + depth(n - 1)
seen = []
threading.stack_size(256 << 20)
thread = threading.Thread(target=lambda: seen.append(depth(50_000)))
thread.start(); thread.join()
print(seen, hashlib.sha256(b"").hexdigest()[:4], json.dumps([1]))
"""
    result = run(program)
    assert result.stdout == "[50000] e3b0 [1]\n", result.stderr


def test_temporary_files_can_be_written() -> None:
    program = (
        "import tempfile, os\nwith tempfile.NamedTemporaryFile('w+') as f: f.write('a'); f.seek(0); print(f.read())"
    )
    assert run(program).stdout == "a\n"
    assert run("open('own', 'w').write('b'); print(open('own').read())").stdout == "b\n"


def test_program_sees_itself_as_main_or_as_named() -> None:
    assert run("print(__name__)").stdout == "__main__\n"
    assert run_python("print(__name__)", name="solution").stdout == "solution\n"


def test_program_that_closes_its_output_is_waited_for() -> None:
    result = run("import os, time\nos.close(1); os.close(2)\ntime.sleep(0.5)")
    assert result.status == "ok"
    assert result.wall_s >= 0.5


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert run("import sys; sys.stdout.buffer.write(b'a\\xffb')").stdout == "a\ufffdb"


def test_null_bytes_and_lone_surrogates_are_errors_of_the_program() -> None:
    assert run("print(1)\0").status == "error"
    assert run("print('\ud800')").status in ("ok", "error")


# Hostile programs


ERRORS = (
    *("PermissionError", "OSError", "AssertionError", "ZeroDivisionError", "ValueError", "urllib.error.URLError"),
    *("NotImplementedError", "ModuleNotFoundError"),
)


def refused(program: str) -> str:
    """The last line that the program leaves on stderr: why it could not."""
    result = run(program)
    assert result.status == "error", result
    return result.stderr.rstrip().rsplit("\n", 1)[-1]


@pytest.mark.parametrize(
    "program",
    [
        "import os\nos.fork()",
        "import os\nwhile True: os.fork()",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.posix_spawn('/bin/true', ['true'], {})",
        "import os\nos.execv('/bin/sh', ['sh', '-c', 'echo out'])",
        "import os\nos.system('true') and 1/0",
        "import multiprocessing\nmultiprocessing.Process(target=print).start()",
        "import socket\nsocket.socket()",
        "import socket\nsocket.socketpair()",
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9')",
        "import os\nos.kill(os.getppid(), 9)",
        "import os\nos.kill(-1, 9)",
        "import os\nos.setuid(0); os.chmod('/', 0o777)",
        "import os\nos.chmod('/tmp', 0)",
        "import os\nos.symlink('/etc/passwd', 'link'); print(open('link').read())",
        "import os\nos.mkfifo('pipe')",
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nassert libc.ptrace(16, 1, 0, 0) == 0",
        "import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0",
        "import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.unshare(0x10000000) == 0",
        "import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.syscall(425, 8, 0) >= 0, 'io_uring'",
        "import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.syscall(319, b'x', 0) >= 0, 'memfd'",
    ],
)
def test_hostile_call_is_refused(program: str) -> None:
    assert refused(program).split(":")[0] in ERRORS


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/1/environ", "/proc/self/environ", "/dev", "/sys/kernel"])
def test_files_of_the_machine_cannot_be_read(path: str) -> None:
    assert "PermissionError" in refused(f"import os\nos.read(os.open({path!r}, os.O_RDONLY), 1)")


def test_files_of_the_parent_cannot_be_read_or_changed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("key")
    secret.chmod(0o666)
    tmp_path.chmod(0o777)
    assert "PermissionError" in refused(f"print(open({str(secret)!r}).read())")
    assert "PermissionError" in refused(f"open({str(secret)!r}, 'w').write('gone')")
    assert "PermissionError" in refused(f"import os; os.open({str(secret)!r}, os.O_RDONLY | os.O_TRUNC)")
    assert "PermissionError" in refused(f"import os; os.truncate({str(secret)!r}, 0)")
    assert "PermissionError" in refused(f"import os; os.remove({str(secret)!r})")
    assert "PermissionError" in refused(f"import os; os.rename({str(secret)!r}, 'mine')")
    assert "PermissionError" in refused(f"open({str(tmp_path / 'new')!r}, 'w')")
    assert secret.read_text() == "key"
    assert list(tmp_path.iterdir()) == [secret]


def test_standard_library_cannot_be_changed() -> None:
    program = "import os; open(os.path.join(os.path.dirname(os.__file__), 'abc.py'), 'a')"
    assert "Error" in refused(program)
    assert "Error" in refused("import sys; open(sys.path[0] + '/os.py', 'a')")


def test_environment_of_the_parent_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "abc")
    assert "SECRET_KEY" not in run("import os; print(dict(os.environ))").stdout


def test_open_files_of_the_parent_are_not_passed_on(tmp_path: Path) -> None:
    with (tmp_path / "open.txt").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        result = run(
            "import os\nfor fd in range(3, 64):\n  try: os.fstat(fd)\n  except OSError: pass\n  else: print(fd)"
        )
    assert (result.status, result.stdout) == ("ok", "")


@pytest.mark.parametrize(
    "program",
    [
        "import time\ntime.sleep(60)",
        "while True: pass",
        "import signal, time\nfor s in (1, 2, 3, 15, 24): signal.signal(s, signal.SIG_IGN)\ntime.sleep(60)",
        "import os, time\nos.close(0); os.close(1); os.close(2)\ntime.sleep(60)",
        "try:\n  while True: pass\nfinally:\n  while True: pass",
        "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')",
    ],
)
def test_program_past_its_time_is_killed(program: str) -> None:
    began = time.monotonic()
    result = run(program, timeout_s=0.7)
    assert result.status == "timeout"
    assert 0.6 < result.wall_s < 2.0
    assert time.monotonic() - began < 6.0


def test_endless_output_is_cut_and_killed() -> None:
    result = run("while True: print('x' * 10_000)")
    assert result.status == "output_limit"
    assert len(result.stdout) == sandbox.MAX_OUTPUT_BYTES


def test_endless_errors_are_cut_and_killed() -> None:
    result = run("import os\nwhile True: os.write(2, b'x' * 10_000)")
    assert (result.status, len(result.stderr)) == ("output_limit", sandbox.MAX_OUTPUT_BYTES)


def test_memory_bomb_ends_in_a_memory_error() -> None:
    assert run("x = bytearray(8 << 30)").status == "memory"
    little_by_little = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    assert run_python(little_by_little, memory_mb=128, timeout_s=20.0).status == "memory"


def test_disk_bomb_is_killed_and_cleaned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tmp_path.chmod(0o755)
    program = "i = 0\nwhile True:\n  with open(str(i), 'wb') as f: f.write(bytes(15 << 20))\n  i += 1"
    result = run(program)
    assert result.status == "disk_limit", result.stderr
    assert list(tmp_path.iterdir()) == []


def test_single_file_cannot_grow_past_its_limit() -> None:
    result = run("with open('big', 'wb') as f:\n  for _ in range(100): f.write(bytes(1 << 20))")
    assert result.status in ("error", "signal")


def test_thread_bomb_ends() -> None:
    program = "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,)).start()"
    assert run(program, timeout_s=2.0).status in ("error", "timeout", "memory")


def test_crash_of_the_interpreter_is_a_signal() -> None:
    result = run("import ctypes; ctypes.string_at(0)")
    assert result.status == "signal"
    assert result.exit_code < 0


def test_nothing_of_a_run_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tmp_path.chmod(0o755)
    run("import os, time\nopen('f', 'w')\nos.mkdir('d')\ntime.sleep(60)", timeout_s=0.3)
    assert list(tmp_path.iterdir()) == []
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in listing


def test_two_programs_run_side_by_side() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda i: run(f"import time; time.sleep(0.2); print({i})"), range(8)))
    assert [result.stdout for result in results] == [f"{i}\n" for i in range(8)]


# Machines that cannot confine


@pytest.fixture
def machine_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Make the child call kernel entry points that do not exist, as on a kernel without them."""

    def change(old: str, new: str) -> None:
        text = sandbox._CHILD.read_text()
        assert text.count(old) == 1
        child = tmp_path / "child.py"
        child.write_text(text.replace(old, new))
        monkeypatch.setattr(sandbox, "_CHILD", child)

    return change


LAYERS = [
    ("LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446",
     "LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 9999, 9999, 9999"),
    ('"prctl", PR_SET_SECCOMP, 2', '"prctl", PR_SET_SECCOMP, 99'),
    ("machine = platform.machine()", 'machine = "pdp11"'),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), LAYERS)
def test_machine_without_a_layer_runs_nothing(machine_without: object, old: str, new: str, tmp_path: Path) -> None:
    assert callable(machine_without)
    machine_without(old, new)
    with pytest.raises(SandboxUnavailable, match="seccomp and Landlock"):
        run("print('ran')")


def test_unsafe_exec_runs_with_what_there_is(machine_without: object) -> None:
    assert callable(machine_without)
    machine_without(*LAYERS[0])
    assert run_python("print('ran')", unsafe_exec=True).stdout == "ran\n"
    assert run_python("import os; os.fork()", unsafe_exec=True).status == "error"


def test_user_who_is_not_root_is_confined_too(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("this whole file runs as such a user already")
    python = Path("/usr/bin/python3")
    if not python.exists():
        pytest.skip("no interpreter that another user can read")
    source = Path(sandbox.__file__).parents[2]
    package = tmp_path / "src"
    for name in ("__init__.py", "errors.py", "scoring/sandbox.py", "scoring/sandbox_child.py"):
        target = package / "reread" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((source / "reread" / name).read_bytes())
    (package / "reread" / "scoring" / "__init__.py").write_text("")
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    code = (
        "import os, sys\nos.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"sys.path.insert(0, {str(package)!r})\n"
        "from reread.scoring.sandbox import run_python\n"
        "print(run_python('print(6*7)').stdout, end='')\n"
        "for p in ('import os; os.fork()', 'import socket; socket.socket()', 'open(\"/etc/passwd\")'):\n"
        "    print(run_python(p).stderr.strip().split('\\n')[-1][:15])\n"
    )
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False, cwd="/", timeout=60)
    assert done.stdout.split("\n")[:4] == ["42", "PermissionError", "PermissionError", "PermissionError"], done.stderr
