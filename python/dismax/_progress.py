"""A bar for what takes long: in terminals and notebooks, and nowhere else."""

import sys


class Bar:
    """One bar for each task, one after the other. Calling it tells how far the task is."""

    def __init__(self, make, delay: float):
        self._make, self._delay = make, delay
        self._task, self._bar = None, None

    def __call__(self, task: str, rows: int, of, failed: int) -> None:
        if task != self._task:
            self.close()
            self._task = task
            options = {"unit": " rows", "unit_scale": True, "dynamic_ncols": True}
            self._bar = self._make(desc=task, total=of, delay=self._delay, **options)
        self._bar.total = of if of is None or of >= rows else rows
        self._bar.update(rows - self._bar.n)
        if failed:
            self._bar.set_postfix(failed=failed)

    def say(self, line: str) -> None:
        """A line that stays above the bar."""
        self._make.write(line, file=sys.stderr)

    def close(self) -> None:
        """No more rows."""
        if self._bar is not None:
            self._bar.close()
        self._task, self._bar = None, None


def bar(wanted) -> "Bar | None":
    """A bar if it is wanted; where nobody says (``None``), in a terminal or a notebook."""
    notebook = _in_notebook()
    # What nobody asked for appears only where it takes long.
    delay = 1.0 if wanted is None else 0.0
    if wanted is None:
        wanted = notebook or sys.stderr.isatty()
    if not wanted:
        return None
    if notebook:
        try:
            import ipywidgets  # noqa: F401
            from tqdm.notebook import tqdm
        except ImportError:
            from tqdm.std import tqdm
    else:
        from tqdm.std import tqdm
    return Bar(tqdm, delay)


def _in_notebook() -> bool:
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if get_ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell"
