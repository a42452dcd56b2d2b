"""Compiled templates that are kept between runs: compiling them takes most of the time a small report takes."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from jinja2.bccache import Bucket, BytecodeCache

from mailwitness.content import kept


class CompiledTemplates(BytecodeCache):
    """Jinja's bytecode, one file for each template.

    Jinja itself checks its own version, Python's and the template's text; what compiling also depends on, our
    filters and the settings of the environment, is code of this package and stands in :func:`_code`.
    """

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill the bucket from the cache, if the file there was made of the same sources."""
        path = kept.place(f"template-{bucket.key}.bin")
        try:
            content = kept.read(path) if path else b""
        except OSError:
            return
        if content.startswith(_code()):
            bucket.bytecode_from_string(content[len(_code()) :])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the bucket for the next run."""
        kept.write(kept.place(f"template-{bucket.key}.bin"), _code() + bucket.bytecode_to_string())


@cache
def _code() -> bytes:
    """Return the SHA-256 over the modules beside this one: Jinja works constants out while it compiles."""
    total = hashlib.sha256()
    for path in sorted(files("mailwitness.report").iterdir(), key=lambda path: path.name):
        if path.name.endswith(".py"):
            total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.digest()
