"""Where the bytes of videos are located: local files, members of tar archives (`ARCHIVE.tar::MEMBER`), and URLs.

URLs are read by fsspec, through a cache on the disk. Only URLs that a list or a command line names are opened.

A name loads its module when it is first used: the commands that need only `paths` load no asyncio and no ssl.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # For type checkers, which do not see names that __getattr__ finds.
    from actrec.data.storage.faults import RemoteError as RemoteError
    from actrec.data.storage.paths import absolute as absolute
    from actrec.data.storage.paths import is_local as is_local
    from actrec.data.storage.paths import is_remote as is_remote
    from actrec.data.storage.paths import join as join
    from actrec.data.storage.paths import may_exist as may_exist
    from actrec.data.storage.paths import resolved as resolved
    from actrec.data.storage.paths import shown as shown
    from actrec.data.storage.paths import split_member as split_member
    from actrec.data.storage.paths import why_refused as why_refused
    from actrec.data.storage.remote import Requests as Requests
    from actrec.data.storage.remote import cancelling_pool as cancelling_pool
    from actrec.data.storage.remote import list_folder as list_folder
    from actrec.data.storage.sources import LocalFile as LocalFile
    from actrec.data.storage.sources import Status as Status
    from actrec.data.storage.sources import configure as configure
    from actrec.data.storage.sources import configure_storage as configure_storage
    from actrec.data.storage.sources import knows_place as knows_place
    from actrec.data.storage.sources import list_archive as list_archive
    from actrec.data.storage.sources import local_file as local_file
    from actrec.data.storage.sources import open_bytes as open_bytes
    from actrec.data.storage.sources import place_of as place_of
    from actrec.data.storage.sources import prefetch as prefetch
    from actrec.data.storage.sources import read_ranges as read_ranges
    from actrec.data.storage.sources import refresh as refresh
    from actrec.data.storage.sources import remember_place as remember_place
    from actrec.data.storage.sources import settings as settings
    from actrec.data.storage.sources import stat as stat
    from actrec.data.storage.sources import statistics as statistics

_HOMES = {
    **dict.fromkeys(("RemoteError",), "faults"),
    **dict.fromkeys(
        ("absolute", "is_local", "is_remote", "join", "may_exist", "resolved", "shown", "split_member", "why_refused"),
        "paths",
    ),
    **dict.fromkeys(("Requests", "cancelling_pool", "list_folder"), "remote"),
    **dict.fromkeys(
        (
            "LocalFile",
            "Status",
            "configure",
            "configure_storage",
            "knows_place",
            "list_archive",
            "local_file",
            "open_bytes",
            "place_of",
            "prefetch",
            "read_ranges",
            "refresh",
            "remember_place",
            "settings",
            "stat",
            "statistics",
        ),
        "sources",
    ),
}

if not TYPE_CHECKING:  # A type checker that saw this function would accept every name.

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = found  # so that the next use is as fast as that of an ordinary name
        return found
