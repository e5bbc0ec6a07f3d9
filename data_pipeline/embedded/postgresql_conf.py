"""The settings of the embedded server: safe for real data, modest in memory, quick for bulk loads.

They stand in `data_pipeline.conf` in the data directory, which is written anew at each start.
`postgresql.conf` includes it first and is the user's: what stands there, or is set by `ALTER
SYSTEM`, wins. Only where the server listens is fixed on its command line.

`fsync` and `synchronous_commit` stay on: a pipeline commits few, large transactions, so there is
next to nothing to gain by losing the last of them in a crash.
"""

import os
from pathlib import Path

from data_pipeline.embedded.account import Account

MIB = 1024 * 1024
SMALL_SHARED_MEMORY = 256 * MIB
FILE_NAME = "data_pipeline.conf"

POSTGRESQL_CONF = f"""\
# {FILE_NAME} is written anew at each start. Your own settings go below it, and win.
include_if_exists = '{FILE_NAME}'
"""

# No Unix socket (its path may have 107 bytes only), so no line for `local`.
PG_HBA_CONF = """\
# TYPE  DATABASE  USER  ADDRESS       METHOD
host    all       all   127.0.0.1/32  scram-sha-256
"""

_TEMPLATE = """\
# Written by data_pipeline at each start: changes here are lost; make them in postgresql.conf.
max_connections = 200
max_locks_per_transaction = 256        # one commit swaps many tables
shared_buffers = {shared_buffers}MB
effective_cache_size = {cache}MB
maintenance_work_mem = {maintenance}MB
work_mem = {work}MB
dynamic_shared_memory_type = {shared_memory}
wal_level = minimal                    # a table made and filled in one transaction needs no WAL
max_wal_senders = 0
max_wal_size = 4GB
checkpoint_timeout = 15min
password_encryption = 'scram-sha-256'
timezone = 'UTC'
log_timezone = 'UTC'
datestyle = 'iso, mdy'
lc_messages = 'C'
default_text_search_config = 'pg_catalog.english'
log_line_prefix = '%m [%p] %d '
log_checkpoints = off
"""


def write_settings(data: Path, account: Account) -> None:
    """Write `data_pipeline.conf` for this machine's memory into a data directory."""
    memory = memory_bytes() // MIB
    text = _TEMPLATE.format(
        shared_buffers=_between(32, memory // 8, 1024),
        cache=_between(64, memory // 2, 65536),
        maintenance=_between(32, memory // 32, 512),
        work=_between(4, memory // 256, 64),
        shared_memory=shared_memory_type(Path("/dev/shm")),  # noqa: S108 - looked at, not used
    )
    write_in_cluster(data / FILE_NAME, text, account)


def write_in_cluster(path: Path, text: str, account: Account) -> None:
    """Replace a file of a data directory by one that belongs to the server's account."""
    staged = path.with_name(f".{path.name}.new")
    # The directory belongs to the account: what it may have put there is never followed.
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        if account.is_other:
            os.fchown(descriptor, account.uid, account.gid)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    staged.rename(path)


def shared_memory_type(directory: Path) -> str:
    """`mmap` (files in the data directory) where `/dev/shm` is small, as in containers."""
    try:
        status = os.statvfs(directory)
    except FileNotFoundError:
        # Only Linux keeps POSIX shared memory in a file system.
        return "mmap" if os.uname().sysname == "Linux" else "posix"
    size = status.f_frsize * status.f_blocks
    return "mmap" if size < SMALL_SHARED_MEMORY else "posix"


def memory_bytes() -> int:
    """The memory of this machine, or of this container when that is less."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        path = Path(limit)
        if path.exists() and (text := path.read_text().strip()).isdecimal():
            sizes.append(int(text))
    return min(sizes)


def _between(low: int, value: int, high: int) -> int:
    return max(low, min(value, high))
