"""make_reader: from a spec to a reader or solver."""

from __future__ import annotations

from typing import Any, cast

from reread.errors import UsageError
from reread.http import split_endpoint
from reread.protocols import Reader, Solver

SPECS = "hf:PATH_OR_NAME, openai:MODEL@http://host/v1 or lexical"


def make_reader(spec: str, **settings: Any) -> Reader | Solver:
    """The reader that a spec names; settings are those of its class (HfReader, EndpointReader,
    LexicalSolver).

    Raises UsageError for another spec or an unknown setting, ReaderError where it cannot be loaded or
    reached.
    """
    kind, _, rest = spec.partition(":")
    try:
        if spec == "lexical":
            from reread.reading.lexical import LexicalSolver

            return LexicalSolver(**settings)
        if kind == "hf" and rest:
            from reread.reading.local import HfReader

            return HfReader(rest, **settings)
        if kind == "openai" and rest:
            from reread.reading.endpoint import EndpointReader

            model, url = split_endpoint(spec)
            # Its `can` asks the server when first read, which mypy takes for another kind of attribute.
            return cast(Reader, EndpointReader(model, url, **settings))
    except TypeError as error:
        if "unexpected keyword argument" in str(error):
            raise UsageError(f"reader {spec}: {str(error).split('__init__() ')[-1]}") from error
        raise
    raise UsageError(f"reader {spec!r} is not known; write {SPECS}")
