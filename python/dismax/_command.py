"""The command: ``dismax ...`` in a shell."""

import signal
import sys

from dismax import _libtorch


def main() -> None:
    """Runs the command line of this process."""
    if sys.argv[1:2] == ["setup"]:
        setup()
        return
    try:
        _libtorch.load()
    except ImportError as error:
        sys.exit(f"dismax: {error}")
    from dismax import _native

    # The command has handlers of its own, which end what it does in good order. What was ignored stays so, as for nohup.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    code = _native._run_command(["dismax", *sys.argv[1:]])
    sys.stdout.flush()
    sys.exit(code)


def setup() -> None:
    """Fetches libtorch, pinned by its digests, from the index that pip uses."""
    from dismax import _setup_libtorch

    sys.argv = ["dismax setup", *sys.argv[2:]]
    if not any(word.startswith("--dest") for word in sys.argv):
        sys.argv += ["--dest", str(_libtorch.cache())]
    _setup_libtorch.main()
