"""Every setting of Tollgate: one frozen object, complete and valid before anything connects.

Owns the names, defaults and bounds of settings (`fields`) and the order in which their sources
count (`sources`). Owns no rule of billing: what a decision can see is a record of the catalog
(D4), not a setting.
"""

from streams.settings.fields import Settings, environment_name, flag_name, is_secret
from streams.settings.sources import Reading, load_settings, read_settings

__all__ = [
    "Reading",
    "Settings",
    "environment_name",
    "flag_name",
    "is_secret",
    "load_settings",
    "read_settings",
]
