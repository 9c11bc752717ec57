"""Where the bytes of videos are located: local files, members of tar archives (`ARCHIVE.tar::MEMBER`), and URLs.

URLs are read by fsspec, through a cache on the disk. Only URLs that a list or a command line names are opened.
"""

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
from actrec.data.storage.sources import list_archive as list_archive
from actrec.data.storage.sources import local_file as local_file
from actrec.data.storage.sources import open_bytes as open_bytes
from actrec.data.storage.sources import prefetch as prefetch
from actrec.data.storage.sources import read_ranges as read_ranges
from actrec.data.storage.sources import refresh as refresh
from actrec.data.storage.sources import settings as settings
from actrec.data.storage.sources import stat as stat
from actrec.data.storage.sources import statistics as statistics
