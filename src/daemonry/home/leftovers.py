"""The services that a killed supervisor of this home left running: adopted, or ended.

Owns which of them may go on: one whose file says so, that was ready, and whose definition is still the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping

from daemonry.home import service_record
from daemonry.home.home import Home
from daemonry.home.own_files import OwnFiles
from daemonry.home.run.process_run import AdoptedRun
from daemonry.home.service import Orphan, Service
from daemonry.home.service_record import ServiceRecord
from daemonry.limits import SERVICE_SWEEP_S
from daemonry.process import sweep

logger: logging.Logger = logging.getLogger("daemonry.home")

Adopted = Mapping[str, tuple[ServiceRecord, AdoptedRun]]


async def clear(home: Home, services: Mapping[str, Service], files: OwnFiles) -> Adopted:
    """End the leftovers of a home, and return those that go on, by the names of their services.

    Args:
        home: the home.
        services: its services, as home.toml defines them now.
        files: removes the files of those that are ended.
    """
    adopted = {}
    ending = []
    for found in service_record.read_all(home.directory):
        service = services.get(found.service)
        process = _adoptable(found, service)
        if process is not None:
            adopted[found.service] = (found, process)
        else:
            ending.append(_end(found, service, home, files))
    await asyncio.gather(*ending)
    return adopted


def _adoptable(found: ServiceRecord, service: Service | None) -> AdoptedRun | None:
    identity = found.identity()
    if service is None or identity is None or not hasattr(os, "pidfd_open"):
        return None
    if service.process.orphan is not Orphan.ADOPT or not found.ready:
        return None
    if found.made_of != service_record.fingerprint(service.process):
        return None  # its definition has changed
    if identity.pid not in sweep.belonging(0, found.mark):
        return None  # a stranger that was given its number
    try:
        return AdoptedRun(identity, found.mark, found.started_at)
    except ProcessLookupError:
        return None


async def _end(found: ServiceRecord, service: Service | None, home: Home, files: OwnFiles) -> None:
    grace_s = service.stop_timeout_s if service is not None else SERVICE_SWEEP_S
    left = await asyncio.to_thread(sweep.belonging, 0, found.mark)
    if left:
        logger.warning("%s: ending what a killed supervisor left: %s", found.service, sorted(left))
        await asyncio.to_thread(sweep.end, 0, found.mark, grace_s)
    for suffix in ("json", "out"):
        files.remove(home.path(found.service, suffix))
