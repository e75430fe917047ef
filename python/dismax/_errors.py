"""What can go wrong. Every class but ``Error`` says where to look."""


class Error(Exception):
    """Any failure of dismax. What Python code raises on the way, such as a generator that gives the input, comes as it is."""


class UsageError(Error, ValueError):
    """Arguments, columns or SQL that do not fit each other, the data or the machine."""


class DataError(Error):
    """Data that cannot be read. The message names the file, and the column or row."""


class ModelError(Error):
    """A model that is missing, damaged, of a newer format, not calibrated or not the one it should be."""


class OutputError(Error):
    """Something is where an output should go, or the output is also an input."""


class DeviceError(Error, RuntimeError):
    """A GPU that is not there, or failed."""


class ForkError(Error, RuntimeError):
    """The process was forked from one that had used dismax. Start processes with ``spawn``."""


class GateError(Error):
    """Rules about the findings of an audit are broken. ``gate`` has all rules; the message says which are broken."""

    def __init__(self, message, gate):
        super().__init__(message, gate)
        self.gate = gate

    def __str__(self) -> str:
        return self.args[0]


for _class in (Error, UsageError, DataError, ModelError, OutputError, DeviceError, ForkError, GateError):
    # Where users find them.
    _class.__module__ = "dismax"
