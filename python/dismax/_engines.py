"""What other engines call in their worker processes."""


def open_pickled(path, digest, options):
    """The model that was pickled, opened again once in each process."""
    import dismax

    return dismax._load()._unpickle_model(path, digest, options)


def map_batches(model, data, columns, options):
    """A table of pyarrow for a table, an iterator of record batches for an iterator."""
    import pyarrow as pa

    if hasattr(data, "__next__"):
        return _batches(model, data, columns, options)
    table = pa.table(data)
    scored = pa.table(_scored(model, table, columns, options))
    return _plain(pa, scored)


def _batches(model, batches, columns, options):
    import pyarrow as pa

    # An iterator without a record batch has no columns to append to.
    first = next(batches, None)
    if first is None:
        return
    scored = _scored(model, _chain(first, batches), columns, options)
    for batch in scored:
        yield _plain(pa, pa.record_batch(batch))


def _chain(first, rest):
    yield first
    yield from rest


def _scored(model, data, columns, options):
    scored = model.score(data, **options)
    return scored if columns is None else scored.select(*columns)


def _plain(pa, rows):
    """The rows without dictionaries, which not every engine has."""
    fields = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field for field in rows.schema
    ]
    return rows.cast(pa.schema(fields, metadata=rows.schema.metadata))


def register(context, models) -> None:
    """Registers the SQL functions in a ``datafusion.SessionContext``."""
    import datafusion

    from dismax import _native

    scalar, aggregate, window = _native._functions(context, models)
    for function in scalar:
        context.register_udf(datafusion.udf(function))
    for function in aggregate:
        context.register_udaf(datafusion.udaf(function))
    for function in window:
        context.register_udwf(datafusion.udwf(function))
