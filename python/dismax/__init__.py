"""Score images with networks that know what they do not know, as Arrow columns.

    import dismax, polars as pl

    model = dismax.Model("models/cifar10-resnet20")
    scored = model.score("photos/*.parquet")                      # lazy; reads nothing yet
    pl.DataFrame(scored.select("path", "prediction", "is_ood"))   # anything that reads Arrow streams
    scored.where("is_ood").write("unknown.parquet")
    dismax.Session(new=model, photos=frame).sql("SELECT dismax_prediction(img) FROM photos").to_polars()
    dismax.audit("photos/*.parquet", model, out="audit", fail_on="broken>0,unknown>1%").gate.raise_for_failure()
    dismax.clean("audit", keep="kept.parquet", removed="removed.parquet", keep_one="near_duplicate")
    dismax.train("train.parquet", out="model")

- ``Model``: a trained network. ``Model.score`` appends its columns to any data.
- ``Relation``: rows that are read, scored and computed when somebody asks for them.
- ``Session``: SQL over models and tables; ``register`` brings the same functions to a ``datafusion.SessionContext``.
- ``audit``, ``clean``, ``train``: what the command of these names does. ``read``: data as a relation, without scores.
- ``Error`` and its subclasses: what can go wrong.

libtorch is loaded when it is first needed: the one of PyTorch 2.11 if that is here, else what ``dismax setup`` fetched.
"""

import importlib
from typing import TYPE_CHECKING

from dismax._errors import DataError, DeviceError, Error, ForkError, GateError, ModelError, OutputError, UsageError

if TYPE_CHECKING:
    import datafusion

    from dismax._audit import Audit, audit
    from dismax._clean import Cleaning, clean
    from dismax._gate import Gate
    from dismax._native import (
        Model,
        RecordBatch,
        Relation,
        Schema,
        Session,
        clear_score_cache,
        read,
        score_cache,
        set_score_cache,
    )
    from dismax._train import train

__version__ = "0.1.0"

_NATIVE = [
    "Model",
    "RecordBatch",
    "Relation",
    "Schema",
    "Session",
    "clear_score_cache",
    "read",
    "score_cache",
    "set_score_cache",
]

# Modules that need the native part.
_MODULES = {
    "Audit": "dismax._audit",
    "Cleaning": "dismax._clean",
    "Gate": "dismax._gate",
    "audit": "dismax._audit",
    "clean": "dismax._clean",
    "train": "dismax._train",
}

__all__ = [
    *_NATIVE,
    "Audit",
    "Cleaning",
    "DataError",
    "DeviceError",
    "Error",
    "ForkError",
    "Gate",
    "GateError",
    "ModelError",
    "OutputError",
    "UsageError",
    "audit",
    "clean",
    "register",
    "train",
]


def register(context: "datafusion.SessionContext", model: "Model | None" = None, /, **models: "Model") -> None:
    """Registers the SQL functions in a ``datafusion.SessionContext`` of release 55.

    Parameters
    ----------
    context : datafusion.SessionContext
    model : Model, optional
        The only model, which queries need not name.
    **models : Model
        Models under the names that queries use: ``dismax_prediction(img, 'name')``.

    Scores are remembered (``score_cache``), so that a filter and a projection do not score an image twice. To score whole
    files, ``context.register_table("scored", model.score(...))`` is faster: such a table scores each image once and only
    where a query needs it.
    """
    from dismax._engines import register as register_in

    _load()
    if model is not None:
        models = {"model": model, **models}
    register_in(context, models)


def _load():
    """The native part, with libtorch."""
    native = _loaded.get("native")
    if native is None:
        from dismax import _libtorch

        _libtorch.load()
        from dismax import _native as native

        _loaded["native"] = native
    return native


_loaded: dict = {}


def __getattr__(name: str):
    if name in _NATIVE:
        value = getattr(_load(), name)
    elif name in _MODULES:
        _load()
        value = getattr(importlib.import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module 'dismax' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted(set(globals()) | set(__all__))
