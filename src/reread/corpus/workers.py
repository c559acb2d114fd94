"""One function over many corpus files: here, or in several processes that stop when this one does."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from reread.errors import RereadError, UsageError

Tick = Callable[[int], None]
"""Called with the number of documents done since the last call."""

Job = TypeVar("Job")
TICK = 64
"""Documents that a worker does between two looks at whether to stop."""
POLL_SECONDS = 0.2
"""Between two reports of progress."""

_shared: Any = None
"""In a worker process: the work, the documents done by all workers, and whether to stop."""


def over_files(
    work: Callable[[Job, Tick], None],
    jobs: Sequence[Job],
    workers: int,
    progress: Callable[[int, int | None], None],
    total: int | None = None,
) -> None:
    """Call `work` on every job, in `workers` processes where that is more than one.

    work: a module's function, or a partial of one (what it holds reaches each process once), which marks its own job
    as finished. progress: called with (documents done, total). An error in one job stops the others at their next
    document, and is raised here.
    """
    if workers == 1 or len(jobs) < 2:
        done, shown_at = 0, time.monotonic()

        def tick(n: int) -> None:
            nonlocal done, shown_at
            done += n
            if time.monotonic() - shown_at >= POLL_SECONDS:
                shown_at = time.monotonic()
                progress(done, total)

        for job in jobs:
            work(job, tick)
        progress(done, total)
        return
    import multiprocessing

    # A fresh interpreter: forking a process that has threads (numba, progress bars) can lock up.
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Event()
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, initializer=_begin, initargs=(work, counter, stop))
    try:
        waiting = {pool.submit(_work, job) for job in jobs}
        while waiting:
            finished, waiting = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_EXCEPTION)
            progress(counter.value, total)
            for future in finished:
                failure = future.result()
                if failure is not None:
                    message, exit_code = failure
                    raise (UsageError if exit_code == UsageError.exit_code else RereadError)(message)
    except BrokenProcessPool:
        raise RereadError(
            "a worker process was ended from outside (out of memory?); run the same command again with fewer --workers"
        ) from None
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


class _Stopped(BaseException):
    """The process that started this one wants no more."""


def _begin(work: Callable[[Job, Tick], None], counter: Any, stop: Any) -> None:
    global _shared
    _shared = (work, counter, stop)
    # Ctrl-C reaches every process of the terminal; the first one tells the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(job: Any) -> tuple[str, int] | None:
    """What went wrong, as the message and exit code: the errors' own classes do not all travel between processes."""
    work, counter, stop = _shared
    waiting = 0

    def tick(n: int) -> None:
        nonlocal waiting
        waiting += n
        if waiting >= TICK:
            if stop.is_set():
                raise _Stopped
            with counter.get_lock():
                counter.value += waiting
            waiting = 0

    try:
        work(job, tick)
    except RereadError as error:
        return str(error), error.exit_code
    except _Stopped:
        return "stopped", 1
    return None
