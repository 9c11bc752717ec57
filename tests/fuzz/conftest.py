"""How long the tests of this folder search: a few fixed inputs by default, many random ones with ACTREC_FUZZ=long."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

COMMON = {
    "deadline": None,
    "print_blob": True,
    "database": None,  # what was found is kept in the folder corpus, or as an example of a test
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
}
settings.register_profile("short", max_examples=40, derandomize=True, **COMMON)
settings.register_profile("long", max_examples=300, **COMMON)
settings.load_profile(os.environ.get("ACTREC_FUZZ") or "short")
