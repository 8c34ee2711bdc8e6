"""Starting a service's process, and the sentence for the reason where that fails.

Owns the record that is written before, the pipes, and closing them where the process cannot be started.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import NamedTuple

from daemonry.home import service_record
from daemonry.home.run import process_run
from daemonry.home.run.process_run import Minders, ProcessRun
from daemonry.home.run.readiness import Channel
from daemonry.home.service import Orphan, Process, Service
from daemonry.home.service_files import ServiceFiles
from daemonry.home.service_log import Output
from daemonry.home.service_record import ServiceRecord
from daemonry.process.lifeline import new_mark


class StartedRun(NamedTuple):
    """A process that was started.

    Attributes:
        process: the process.
        channel: the way in which it reports its readiness.
        output: its output, on the way to the log.
    """

    process: ProcessRun
    channel: Channel
    output: Output


def start_run(
    service: Service,
    files: ServiceFiles,
    minders: Minders,
    take: Callable[[bytes], None],
    *,
    restarts: int,
    socket_fd: int | None,
) -> StartedRun:
    """Start a service's process.

    Args:
        service: the service.
        files: its record and its socket.
        minders: those who see its end, and ours.
        take: takes its output.
        restarts: how often it was restarted, for its record.
        socket_fd: the socket that it inherits; None where it makes its own.

    Raises:
        OSError: it cannot be started; nothing of it is left but its record.
    """
    process, mark = service.process, new_mark()
    made_of = service_record.fingerprint(process)
    record = ServiceRecord(service=service.name, mark=mark, made_of=made_of, restarts=restarts)
    files.write(record)
    if socket_fd is None:
        files.remove_stale_socket(service.socket_path)
    far, near = files.output_pipe(process.orphan)
    channel: Channel | None = None
    try:
        channel = Channel(process.channels, service.beat_s)
        run = process_run.start(process, mark, channel.extra, near, channel.pass_fds, minders, socket_fd)
        channel.started()
    except BaseException:
        os.close(far)
        if channel is not None:
            channel.close()
        raise
    finally:
        os.close(near)
    record = record.of(run.identity, run.started_at)
    if process.orphan is Orphan.ADOPT:  # nobody looks for the process of one that ends with us
        files.write(record)
    return StartedRun(run, channel, Output(asyncio.get_running_loop(), far, take))


def why_not(error: OSError, process: Process, out_path: str) -> str:
    """Return why a process could not be started, for people."""
    program = process.words[0]
    if error.filename == process.directory:
        # The kernel has one message for a directory and for a program.
        return f"its directory {process.directory}: {error.strerror}"
    if error.filename == out_path:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, FileNotFoundError):
        # The kernel says the same of a script whose interpreter is missing.
        missing = "the interpreter in its first line is not there"
        return f"{program}: {missing if os.path.isfile(program) else error.strerror}"
    return error.strerror or str(error)
