"""One hypothesis profile for all: a loaded machine is no failure, so no example has a deadline."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("alpaclaudia", deadline=None)
settings.load_profile("alpaclaudia")
