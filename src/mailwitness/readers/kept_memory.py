"""What the C library does with memory that is freed."""

from __future__ import annotations

import numpy as np

# Just below the largest block that glibc keeps (DEFAULT_MMAP_THRESHOLD_MAX).
_KEPT_BYTES = 31 << 20


def keep_memory() -> None:
    """Let the C library keep freed memory of the size of a stretch.

    It gives large blocks back to the system at once and gets them page by page again, which costs as much as all else that is done
    with a stretch, until one larger than they has been freed.
    """
    np.empty(_KEPT_BYTES, dtype=np.uint8)
