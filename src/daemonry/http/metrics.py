"""`/metrics`: the daemon in the formats of Prometheus and OpenMetrics.

Owns which families there are and what feeds them; writing them is prometheus-client's.  What the program
registers with that library's own registry is there as well, with the process's memory and CPU time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from daemonry.http.meter import BOUNDS_S, Meter

if TYPE_CHECKING:
    from daemonry.http.host import Host

# The most numbers of STATUS that are shown: a program's status may have any number of fields.
_MOST_FIELDS: Final = 100


def exposition(host: Host, meter: Meter, status: dict[str, Any], accept: str) -> tuple[bytes, str]:
    """Return the metrics, and the media type that the client takes."""
    registry = CollectorRegistry()
    registry.register(_Families(host, meter, status))
    registry.register(_Others())
    encoder, media_type = choose_encoder(accept)
    return encoder(registry), media_type


class _Others:
    """What the library's own registry holds: the process, the interpreter, and the program's own."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        return iter(REGISTRY.collect())


class _Families:
    """What daemonry knows."""

    def __init__(self, host: Host, meter: Meter, status: dict[str, Any]) -> None:
        self._host = host
        self._meter = meter
        self._status = status

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield self._info()
        yield self._state()
        yield from self._calls()
        running = GaugeMetricFamily("daemonry_calls_running", "Calls that run now.")
        running.add_metric([], self._host.calls.running)
        yield running
        connections = GaugeMetricFamily("daemonry_connections", "Connections that are open.")
        connections.add_metric([], self._host.connections())
        yield connections
        yield self._numbers()
        yield from self._more()

    def _info(self) -> Metric:
        info = InfoMetricFamily("daemonry", "The kind, name and version of the process.")
        info.add_metric([], {"kind": self._host.kind, "name": self._host.name, "version": self._host.version})
        return info

    def _state(self) -> Metric:
        state = GaugeMetricFamily("daemonry_state", "1 for the state that it is in.", labels=["state"])
        state.add_metric([str(self._status.get("state", "unknown"))], 1)
        return state

    def _calls(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "daemonry_calls",
            "Calls that have ended since metrics were first asked for, by method and outcome: ok, error "
            "(declared by the interface), failed, refused, invalid, cancelled.",
            labels=["method", "outcome"],
        )
        for (method, outcome), count in sorted(self._meter.ended.items()):
            calls.add_metric([method, outcome], count, created=self._meter.since)
        yield calls
        seconds = HistogramMetricFamily(
            "daemonry_call_duration_seconds", "How long calls took, streams to their end.", labels=["method"]
        )
        for method, durations in sorted(self._meter.durations.items()):
            seen, buckets = 0, []
            for bound, count in zip([*map(str, BOUNDS_S), "+Inf"], durations.counts, strict=True):
                seen += count
                buckets.append((bound, seen))
            seconds.add_metric([method], buckets, durations.total_s)
        yield seconds

    def _numbers(self) -> Metric:
        numbers = GaugeMetricFamily("daemonry_status", "The numbers that STATUS tells.", labels=["field"])
        found = [(name, value) for name, value in self._status.items() if isinstance(value, (int, float))]
        for name, value in found[:_MOST_FIELDS]:
            numbers.add_metric([name], float(value))
        return numbers

    def _more(self) -> Iterator[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for name, about, labels, value in self._host.more_metrics():
            family = families.get(name)
            if family is None:
                family = families[name] = GaugeMetricFamily(name, about, labels=sorted(labels))
            family.add_metric([labels[label] for label in sorted(labels)], value)
        yield from families.values()
