"""List files: their rows, reading and writing them, classes, and splits into training and validation."""

from actrec.data.lists.foreign import advice
from actrec.data.lists.labels import find_labels, read_flips, read_labels, write_labels
from actrec.data.lists.read import read_list
from actrec.data.lists.row import Video
from actrec.data.lists.videos import Videos, check_labels, digest, label_columns, number_files
from actrec.data.lists.write import write_list
from actrec.files import ListError

__all__ = [
    "ListError", "Video", "Videos", "advice", "check_labels", "digest", "find_labels", "label_columns", "number_files",
    "read_flips", "read_labels", "read_list", "write_labels", "write_list",
]  # fmt: skip
