"""Who indexes the shards that a build cuts: this process, or several beside it.

Every way runs the same `index_shard` on the same folders, so the bytes are the same.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from reread import errors
from reread.datastore.index import index_shard
from reread.errors import RereadError
from reread.protocols import Embedder

logger = logging.getLogger(__name__)

MakeEmbedder = Callable[[str | None], Embedder]
"""Makes the embedder in another process, on the device named (None: its own choice); must be picklable."""

MAX_ATTEMPTS = 2
"""Runs of one shard whose processes were killed, before the build gives up."""

STOP_S = 5.0
"""An idle process has so long to end."""


class Indexer(Protocol):
    """Takes shards that were cut; a context manager, whose end stops what still runs."""

    def submit(self, folder: Path) -> None:
        """Index this shard; waits while too many others wait already, so that cutting does not run far ahead."""
        ...

    def finish(self) -> None:
        """Wait until every shard is indexed. Raises RereadError naming a shard that could not be."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


Indexed = Callable[[str, int], None]
"""Told (shard, its passages embedded so far), where there is an embedder."""


class SerialIndexer:
    """Indexes in this process, a shard at a time."""

    def __init__(self, embedder: Embedder | None = None, indexed: Indexed | None = None) -> None:
        self._embedder = embedder
        self._indexed = indexed

    def submit(self, folder: Path) -> None:
        indexed = self._indexed
        index_shard(folder, self._embedder, (lambda n: indexed(folder.name, n)) if indexed else None)

    def finish(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@dataclass(slots=True)
class _Task:
    folder: Path
    n_killed: int = 0


class _Worker:
    """A process that indexes one shard at a time, and the pipe to it."""

    def __init__(self, make: MakeEmbedder | None, device: str | None, n_threads: int) -> None:
        # A fresh interpreter: forks of a process with threads (torch, Arrow) can hang.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, make, device, n_threads), daemon=True)
        self.process.start()
        theirs.close()
        self.device = device
        self.task: _Task | None = None

    def stop(self) -> None:
        self.pipe.close()
        if self.task is None:
            # It ends by itself, and gives back the semaphores that torch's helpers took.
            self.process.join(STOP_S)
        # Killed, not asked: nothing a busy one holds needs an orderly end, and a compiled loop would not listen.
        self.process.kill()
        self.process.join()


class ProcessIndexer:
    """Indexes in `n_workers` processes while this one cuts; at most one shard more than those waits.

    devices: where each worker's embedder goes, in turn. A process that is killed (out of memory, kill -9) is replaced
    and its shard indexed again, once; a shard that kills two ends the build with its name.
    """

    def __init__(
        self, n_workers: int, make: MakeEmbedder | None, indexed: Indexed, devices: tuple[str | None, ...] = (None,)
    ) -> None:
        self._n_workers = n_workers
        self._make = make
        self._indexed = indexed
        self._devices = devices
        self._workers: list[_Worker] = []
        self._waiting: list[_Task] = []

    def submit(self, folder: Path) -> None:
        self._waiting.append(_Task(folder))
        self._hand_out()
        while self._waiting and self._n_unfinished() > self._n_workers + 1:
            self._receive()
        self._receive(timeout_s=0)

    def finish(self) -> None:
        while self._n_unfinished():
            self._receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers = []

    def _n_unfinished(self) -> int:
        return len(self._waiting) + sum(worker.task is not None for worker in self._workers)

    def _hand_out(self) -> None:
        while self._waiting:
            worker = next((worker for worker in self._workers if worker.task is None), None)
            if worker is None:
                if len(self._workers) == self._n_workers:
                    return
                worker = self._start()
            worker.task = self._waiting.pop(0)
            # A worker that has died is noticed when its answer is waited for.
            with contextlib.suppress(OSError):
                worker.pipe.send_bytes(os.fsencode(worker.task.folder.absolute()))

    def _start(self) -> _Worker:
        in_use = [worker.device for worker in self._workers]
        device = min(self._devices, key=in_use.count)
        worker = _Worker(self._make, device, max(1, (os.cpu_count() or 1) // self._n_workers))
        self._workers.append(worker)
        return worker

    def _receive(self, timeout_s: float | None = None) -> None:
        """Take in what the workers have to say; waits for something unless a timeout is given."""
        pipes: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers if worker.task is not None}
        for ready in multiprocessing.connection.wait(list(pipes), timeout_s):
            worker = pipes[ready]
            try:
                message = json.loads(worker.pipe.recv_bytes())
            except (EOFError, OSError):
                self._replace(worker)
            else:
                self._take(worker, message)
        self._hand_out()

    def _take(self, worker: _Worker, message: dict[str, Any]) -> None:
        assert worker.task is not None
        name = worker.task.folder.name
        if "embedded" in message:
            self._indexed(name, message["embedded"])
            return
        if message.get("error") == "OSError":
            raise OSError(message["errno"], message["text"], message["file"])
        if "error" in message:
            raise shard_error(getattr(errors, message["error"], RereadError), name, message["text"])
        logger.info("shard %s finished", name)
        worker.task = None

    def _replace(self, worker: _Worker) -> None:
        """A worker died: its shard is the next to be handed out again, or the end of the build."""
        self._workers.remove(worker)
        worker.process.join()
        code = worker.process.exitcode
        worker.stop()
        task = worker.task
        assert task is not None
        task.n_killed += 1
        if task.n_killed == MAX_ATTEMPTS:
            raise RereadError(
                f"shard {task.folder.name} could not be indexed: {task.n_killed} processes that were at it ended "
                f"({_ended(code)}); if memory ran out, use fewer --workers, then run the same command again: what is "
                "finished is kept"
            )
        logger.warning("the process that indexed shard %s ended (%s); again", task.folder.name, _ended(code))
        self._waiting.insert(0, task)


def shard_error(kind: type[RereadError], name: str, text: str) -> RereadError:
    """An error of another process, told of its shard; the kinds' own arguments do not travel, so none is asked for."""
    return kind.__new__(kind, f"shard {name}: {text}")


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"by signal {signal.Signals(-code).name}"
    return f"with code {code}"


def _work(pipe: Connection, make: MakeEmbedder | None, device: str | None, n_threads: int) -> None:
    """A worker's life: a folder comes, the shard is indexed, an answer goes, until the pipe is closed."""
    # Ctrl-C goes to the whole group; the parent stops its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.setdefault("OMP_NUM_THREADS", str(n_threads))
    embedder: Embedder | None = None
    while True:
        try:
            folder = Path(os.fsdecode(pipe.recv_bytes()))
        except EOFError:
            return
        try:
            if make is not None and embedder is None:
                embedder = make(device)
            index_shard(folder, embedder, lambda n: _send(pipe, {"embedded": n}))
        except OSError as error:
            file = os.fsdecode(error.filename) if error.filename else None
            _send(pipe, {"error": "OSError", "errno": error.errno, "text": error.strerror, "file": file})
        except RereadError as error:
            _send(pipe, {"error": type(error).__name__, "text": str(error)})
        except Exception as error:  # noqa: BLE001  # whatever it was, the parent must hear of it
            logger.debug("%s", traceback.format_exc())
            _send(pipe, {"error": "RereadError", "text": f"{type(error).__name__}: {error}"})
        else:
            _send(pipe, {"finished": folder.name})


def _send(pipe: Connection, message: dict[str, Any]) -> None:
    pipe.send_bytes(json.dumps(message).encode())


def _end_with_parent() -> None:
    """An orphan must not write into shards that the next build has in hand."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
