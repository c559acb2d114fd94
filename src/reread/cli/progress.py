"""Progress bars on stderr: what is being done, how far, how long still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Report = Callable[[int, int | None], None]


class _RateColumn(ProgressColumn):
    """How many a second: lately while it runs, on the whole when it is done."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        if not rate:
            return Text("")
        return Text(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s", style="progress.data.speed")


@contextmanager
def stages() -> Iterator[Callable[[str], Report]]:
    """A function that opens a bar for a titled stage and returns where to report to.

    Each stage's bar stays when the next one begins, so the finished stages read as a list.
    """
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        current: list[TaskID] = []

        def stage(title: str) -> Report:
            if current:
                _finish(progress, current[-1])
            task = progress.add_task(title, total=None)
            current.append(task)
            if not console.is_terminal:
                console.print(title, markup=False, highlight=False)

            def report(done: int, total: int | None) -> None:
                progress.update(task, completed=done, total=total)

            return report

        yield stage
        if current:
            _finish(progress, current[-1])


def _finish(progress: Progress, task: TaskID) -> None:
    """A stage whose length was not known, or that had nothing left to do, is shown as done."""
    state = progress.tasks[progress.task_ids.index(task)]
    done = max(state.completed, 1)
    progress.update(task, completed=done, total=done)
