"""List files: rows, how they are read and written, classes, and which videos validate."""

from actrec.data.lists.labels import find_labels, read_flips, read_labels, write_labels
from actrec.data.lists.read import read_list
from actrec.data.lists.row import Video, check_labels
from actrec.data.lists.write import write_list
from actrec.files import ListError

__all__ = [
    "ListError", "Video", "check_labels", "find_labels", "read_flips", "read_labels", "read_list",
    "write_labels", "write_list",
]  # fmt: skip
