"""Times that are all written alike, as those of one source are, read as columns of characters: a quarter of the time
that reading one after the other takes.
"""

import re
from datetime import datetime

import numpy as np

_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_SHAPE = re.compile(rb"(0000-00-00T00:00:00(?:[.]0{1,6})?)(Z|[+-]00:00)")


def micros_of_like_texts(texts: list[str]) -> np.ndarray | None:
    """µs since 1970 of texts as 2026-11-20T10:00:00.123Z, with any fraction down to µs and any offset. None where they
    differ in length or offset, or some is no time.
    """
    text = "".join(texts).encode()
    shape = texts[0].encode().translate(_AS_ZEROS)
    parts = _SHAPE.fullmatch(shape)
    if parts is None or set(map(len, texts)) != {len(shape)} or text.translate(_AS_ZEROS) != shape * len(texts):
        return None
    columns = np.frombuffer(text, [("local", f"S{len(parts[1])}"), ("offset", f"S{len(parts[2])}")])
    if (columns["offset"] != columns["offset"][0]).any():
        return None
    try:
        offset = datetime.fromisoformat(texts[0]).utcoffset()
        local = columns["local"].astype("M8[us]")
    except ValueError:
        return None
    return (local - np.timedelta64(offset)).astype(np.int64)
