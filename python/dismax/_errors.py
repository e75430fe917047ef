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


for _class in (Error, UsageError, DataError, ModelError, OutputError, DeviceError, ForkError):
    # Where users find them.
    _class.__module__ = "dismax"
