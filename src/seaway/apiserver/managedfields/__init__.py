"""Field ownership: managedFields, and server-side apply on top of them. Pure.

A write comes with the object before and after, the entries and the writer; what leaves is the entries after it (and,
for an apply, the object). The server decides when to ask. Rule: spec "api-machinery" §5.4, §5.5.
"""

from seaway.apiserver.managedfields.apply import ApplyConflicts, check_config
from seaway.apiserver.managedfields.entries import (
    differ_in_times_only,
    read_entries,
    render_entries,
    validate_entries,
)
from seaway.apiserver.managedfields.last_applied import apply_as
from seaway.apiserver.managedfields.scaling import narrow_to_scale, widen_from_scale
from seaway.apiserver.managedfields.schema import find_owned_schema
from seaway.apiserver.managedfields.tracking import Writer, choose_entries, choose_manager, track_write
from seaway.apiserver.managedfields.typed import TypedError

__all__ = [
    "ApplyConflicts",
    "TypedError",
    "Writer",
    "apply_as",
    "check_config",
    "choose_entries",
    "choose_manager",
    "differ_in_times_only",
    "find_owned_schema",
    "narrow_to_scale",
    "read_entries",
    "render_entries",
    "track_write",
    "validate_entries",
    "widen_from_scale",
]
