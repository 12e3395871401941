"""What every one of Tollgate's programs measures of itself: what it is, and what it takes."""

from typing import Final

from streams.metrics.registry import Metric

BUILD: Final = Metric(
    "tollgate_build_info", "gauge", "1 for the release and role that runs.", ("version", "role")
)
READY: Final = Metric("tollgate_ready", "gauge", "1 while /ready says yes, else 0.")
START_TIME: Final = Metric(
    "tollgate_start_time_seconds", "gauge", "When the program was started, in Unix time."
)
CPU: Final = Metric(
    "tollgate_cpu_seconds_total", "counter", "Processor time taken, of users and system."
)
RESIDENT: Final = Metric(
    "tollgate_resident_memory_bytes", "gauge", "Memory held, without what is swapped out."
)
OPEN_FILES: Final = Metric(
    "tollgate_open_files", "gauge", "File descriptors in use, connections included."
)
OPEN_FILES_MAX: Final = Metric(
    "tollgate_open_files_max", "gauge", "How many file descriptors the system allows."
)
DISK_FREE: Final = Metric(
    "tollgate_disk_free_bytes", "gauge", "Free on the disk of the home or state directory."
)
DISK_SIZE: Final = Metric("tollgate_disk_size_bytes", "gauge", "Size of that disk.")
LOG_MESSAGES: Final = Metric(
    "tollgate_log_messages_total",
    "counter",
    "Messages logged, by level: warning, error, critical.",
    ("level",),
)

PROGRAM: Final = (
    BUILD,
    READY,
    START_TIME,
    CPU,
    RESIDENT,
    OPEN_FILES,
    OPEN_FILES_MAX,
    DISK_FREE,
    DISK_SIZE,
    LOG_MESSAGES,
)
"""All of them, in the order in which they are shown."""
