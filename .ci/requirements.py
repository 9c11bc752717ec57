"""Print the dependencies of a wheel of actrec for pip: python .ci/requirements.py WHEEL newest|oldest

`oldest` gives the lower bounds of setup.py (`av==18`), `newest` what setup.py allows (`av>=18`). The extras for users
are included. torch and DALI are left out, because each of their releases is gigabytes.
"""

import re
import sys
import zipfile
from email.parser import HeaderParser

from packaging.requirements import Requirement

EXTRAS = ("", "cluster", "export", "probe", "remote")

wheel, which = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    texts = HeaderParser().parsestr(archive.read(name).decode()).get_all("Requires-Dist")
for requirement in map(Requirement, texts):
    is_wanted = requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in EXTRAS)
    if not is_wanted or re.match("torch|nvidia-dali", requirement.name):
        continue
    if which == "oldest":
        (bound,) = [each.version for each in requirement.specifier if each.operator == ">="]
        print(f"{requirement.name}=={bound}")
    else:
        print(f"{requirement.name}{requirement.specifier}")
