"""What is known of every video of a list."""

from actrec.data.index.cache import cache_path, quarantine_path
from actrec.data.index.index import LAZY, Index, Rows, build_index, fingerprint_line, open_rows
from actrec.data.index.media import Media
from actrec.data.index.notices import images_of, notices

__all__ = [
    "LAZY",
    "Index",
    "Media",
    "Rows",
    "build_index",
    "cache_path",
    "fingerprint_line",
    "images_of",
    "notices",
    "open_rows",
    "quarantine_path",
]
