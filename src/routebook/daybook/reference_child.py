"""The child that counts reference tokens: jobs on stdin, counts on stdout, until stdin ends.

The tokenizer's ranks come from an installed distribution, never from the network: they are unpacked once into the
cache folder under the name that the tokenizer library looks for.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from routebook.daybook.reference import Count, Job
from routebook.metering.reference import TOKENIZER
from routebook.wire import codec

if TYPE_CHECKING:
    from tiktoken import Encoding

_RANKS_NAME = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
"""The library names a cached file by the sha-1 of this; nothing is fetched from it."""


def prepare(cache: Path) -> None:
    """Put the ranks where the library looks for them."""
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = cache / hashlib.sha1(_RANKS_NAME.encode(), usedforsecurity=False).hexdigest()
    if not target.exists():
        spec = importlib.util.find_spec("bpe_openai")
        assert spec is not None
        assert spec.origin is not None
        packed = Path(spec.origin).parent / "data" / f"{TOKENIZER}.tiktoken.gz"
        with tempfile.NamedTemporaryFile(dir=cache, delete=False) as part:
            part.write(gzip.decompress(packed.read_bytes()))
        os.replace(part.name, target)
    os.environ["TIKTOKEN_CACHE_DIR"] = str(cache)


def serve(jobs: BinaryIO, counts: BinaryIO, cache: Path) -> None:
    """Count until the jobs end."""
    prepare(cache)
    import tiktoken

    encoding = tiktoken.get_encoding(TOKENIZER)
    while len(head := jobs.read(4)) == 4:
        job = codec.unpack(jobs.read(int.from_bytes(head, "big")), Job)
        sizes = [_tokens(encoding, text) for text in (job.prompt, job.completion)]
        frame = codec.pack(Count(job.id, job.n, *sizes))
        counts.write(len(frame).to_bytes(4, "big") + frame)
        counts.flush()


def _tokens(encoding: Encoding, text: str) -> int | None:
    """None where the tokenizer gives up: one text must not end the counting of all others."""
    try:
        return len(encoding.encode_ordinary(text))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a panic of its native code is no Exception
        return None


if __name__ == "__main__":
    os.nice(10)
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer, Path(sys.argv[1]))
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(0)
