"""What is known of every video of a list."""

from actrec.data.index.cache import cache_path, quarantine_path
from actrec.data.index.index import LAZY, Index, build_index, fingerprint_line
from actrec.data.index.media import Media
from actrec.data.index.notices import images_of, notices

__all__ = [
    "LAZY",
    "Index",
    "Media",
    "build_index",
    "cache_path",
    "fingerprint_line",
    "images_of",
    "notices",
    "quarantine_path",
]
