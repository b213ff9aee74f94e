"""`ferroloop.prometheus` and `ferroloop.opentelemetry` with the real packages: what they tell is what loops tell."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import urllib.request
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import ferroloop
from ferroloop._insight.monitor import monitor_of
from support.loops import PATIENCE, run_turns

pytest.importorskip("prometheus_client")
pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Sum
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from ferroloop.opentelemetry import instrument, uninstrument
from ferroloop.prometheus import Collector

pytestmark = [
    pytest.mark.ours_only("asyncio has no exporters"),
    pytest.mark.frameworks,
    pytest.mark.slow,
]


@pytest.fixture
def watched(loop: ferroloop.Loop) -> Iterator[ferroloop.Loop]:
    """A loop that has waited, was late and stalled once, under a monitor, and does not run now."""
    seen = threading.Event()
    with ferroloop.Monitor(
        loop, stall_after=0.02, on_stall=lambda _: seen.set(), slow_after=0.02, on_slow=print
    ) as monitor:
        assert monitor.turns.count == 0
        loop.call_later(600, int)
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.call_soon(seen.wait, PATIENCE)
        run_turns(loop, 1)
        # The monitor's thread notes the end of the stall, at some moment after it.
        deadline = time.monotonic() + PATIENCE
        while not (monitor.stalls and monitor.stalls[-1].ended):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        yield loop


def scrape(registry: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What Prometheus reads over HTTP, parsed by its own client: sample and labels to value."""
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_scrapes_what_the_loop_and_its_monitor_tell(watched: ferroloop.Loop) -> None:
    registry = CollectorRegistry()
    registry.register(Collector(watched, name="main"))
    found = scrape(registry)
    seen, monitor = watched.metrics(), monitor_of(watched)
    assert monitor is not None
    main = (("loop", "main"),)
    assert found["ferroloop_turns_total", main] == seen.turns > 0
    assert found["ferroloop_callbacks_total", main] == seen.callbacks
    assert found["ferroloop_waits_total", main] == seen.waits
    assert found["ferroloop_idle_seconds_total", main] == pytest.approx(seen.idle)
    assert found["ferroloop_ready_callbacks", main] == seen.ready
    assert found["ferroloop_timers", main] == seen.timers == 1
    assert found["ferroloop_descriptors", main] == seen.descriptors
    assert found["ferroloop_stalls_total", main] == monitor.stall_count
    assert found["ferroloop_stall_seconds_total", main] == pytest.approx(monitor.stall_seconds)
    assert found["ferroloop_slow_callbacks_total", main] == monitor.slow_count
    assert found["ferroloop_lookups", main] == 0
    for name, histogram in (("turn", monitor.turns), ("delay", monitor.delays)):
        assert found[f"ferroloop_{name}_seconds_count", main] == histogram.count
        assert found[f"ferroloop_{name}_seconds_sum", main] == pytest.approx(histogram.sum)
        buckets = [
            (float(dict(labels)["le"]), value)
            for (sample, labels), value in found.items()
            if sample == f"ferroloop_{name}_seconds_bucket"
        ]
        assert buckets == sorted(buckets)
        assert [value for _, value in buckets] == sorted(value for _, value in buckets)
        assert buckets[-1] == (float("inf"), histogram.count)
        for bound, value in buckets[:-1]:
            assert value == sum(number for upper, number in histogram.buckets() if upper <= bound)


def test_prometheus_tells_several_loops_apart_until_they_are_closed(
    watched: ferroloop.Loop,
) -> None:
    registry = CollectorRegistry(auto_describe=True)
    collector = Collector(watched)
    registry.register(collector)
    other = ferroloop.new_event_loop()
    collector.add(other)
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(Collector(other))

    def loops() -> set[str]:
        return {dict(key[1])["loop"] for key in scrape(registry)}

    thread = threading.current_thread().name
    assert loops() == {thread, f"{thread}-2"}
    with pytest.raises(ValueError, match="another loop has the name"):
        collector.add(watched, name=f"{thread}-2")
    assert loops() == {thread, f"{thread}-2"}
    collector.add(watched, name="renamed")
    assert loops() == {"renamed", f"{thread}-2"}
    other.close()
    assert loops() == {"renamed"}
    collector.remove(watched)
    collector.remove(watched)
    assert scrape(registry) == {}


def test_figures_without_a_monitor_are_left_out(loop: ferroloop.Loop) -> None:
    registry = CollectorRegistry()
    registry.register(Collector(loop))
    names = {name for name, _ in scrape(registry)}
    assert "ferroloop_turns_total" in names
    assert not [name for name in names if "stall" in name or "seconds_bucket" in name]


@pytest.mark.parametrize("module", ["prometheus", "opentelemetry"])
def test_exporters_take_open_loops_of_ferroloop_only(module: str) -> None:
    tell: Any = {"prometheus": Collector, "opentelemetry": instrument}[module]
    with pytest.raises(RuntimeError, match="no running event loop"):
        tell()
    theirs = asyncio.SelectorEventLoop()
    with pytest.raises(TypeError, match="a loop of ferroloop is needed"):
        tell(theirs)
    theirs.close()
    closed = ferroloop.new_event_loop()
    closed.close()
    with pytest.raises(RuntimeError, match="closed"):
        tell(closed)


def test_the_running_loop_is_the_default_and_no_loop_is_kept_alive() -> None:
    collectors: list[Collector] = []

    async def main() -> None:
        collectors.append(Collector(name="x"))

    loop = ferroloop.new_event_loop()
    loop.run_until_complete(main())
    assert any(family.samples for family in collectors[0].collect())
    gone = weakref.ref(loop)
    loop.close()
    del loop
    gc.collect()
    assert gone() is None
    assert not any(family.samples for family in collectors[0].collect())


def collected(reader: Any) -> dict[tuple[str, tuple[tuple[str, Any], ...]], Any]:
    """What a reader of OpenTelemetry's SDK collects: name and attributes to the data point's value."""
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        (metric.name, tuple(sorted(point.attributes.items()))): point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


def test_opentelemetry_collects_what_the_loop_and_its_monitor_tell(
    watched: ferroloop.Loop,
) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    instrument(watched, provider, name="main")
    found = collected(reader)
    seen, monitor = watched.metrics(), monitor_of(watched)
    assert monitor is not None
    main = (("ferroloop.eventloop.name", "main"),)
    assert found["ferroloop.eventloop.turns", main] == seen.turns > 0
    assert found["ferroloop.eventloop.callbacks", main] == seen.callbacks
    assert found["ferroloop.eventloop.idle.time", main] == pytest.approx(seen.idle)
    assert found["ferroloop.eventloop.timer.count", main] == 1
    assert found["ferroloop.eventloop.stalls", main] == monitor.stall_count
    assert found["ferroloop.eventloop.stall.time", main] == pytest.approx(monitor.stall_seconds)
    assert found["ferroloop.eventloop.slow_callbacks", main] == monitor.slow_count
    for name, histogram in (("turn.duration", monitor.turns), ("delay", monitor.delays)):
        prefix = f"ferroloop.eventloop.{name}"
        assert found[f"{prefix}.max", main] == histogram.max
        assert found[f"{prefix}.p99", main] == histogram.percentile(99)
        assert found[f"{prefix}.mean", main] * histogram.count == pytest.approx(histogram.sum)
        assert found[f"{prefix}.count", main] == histogram.count > 0
        assert found[f"{prefix}.sum", main] == pytest.approx(histogram.sum)
        below = {
            dict(attributes)["le"]: number
            for (key, attributes), number in found.items()
            if key == f"{prefix}.bucket"
        }
        assert below["+Inf"] == histogram.count
        for bound, number in histogram.buckets():
            if str(bound) in below:
                within = sum(count for upper, count in histogram.buckets() if upper <= bound)
                assert below[str(bound)] == within, number

    other = ferroloop.new_event_loop()
    instrument(other, provider, name="other")
    names = {dict(key[1])["ferroloop.eventloop.name"] for key in collected(reader)}
    assert names == {"main", "other"}
    other.close()
    uninstrument(watched, provider)
    assert collected(reader) == {}
    provider.shutdown()


def test_opentelemetry_takes_units_and_kinds_from_its_conventions(loop: ferroloop.Loop) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    instrument(loop, provider)
    data = reader.get_metrics_data()
    assert data is not None
    metrics = {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    for name, unit, monotonic in (
        ("turns", "{turn}", True),
        ("idle.time", "s", True),
        ("descriptor.count", "{descriptor}", False),
    ):
        metric = metrics[f"ferroloop.eventloop.{name}"]
        assert metric.unit == unit
        assert isinstance(metric.data, Sum)
        assert metric.data.is_monotonic is monotonic
        assert metric.description
    provider.shutdown()


def test_the_global_meter_provider_may_be_set_later() -> None:
    program = """
import ferroloop
from ferroloop.opentelemetry import instrument
loop = ferroloop.new_event_loop()
instrument(loop, name="first")
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
second = ferroloop.new_event_loop()
instrument(second, name="second")
data = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
turns = next(metric for metric in data if metric.name == "ferroloop.eventloop.turns")
print(sorted(point.attributes["ferroloop.eventloop.name"] for point in turns.data.data_points))
loop.close()
second.close()
"""
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (finished.stdout, finished.stderr) == ("['first', 'second']\n", "")


def test_the_packages_are_imported_only_when_they_are_used() -> None:
    program = (
        "import ferroloop, sys; print([n for n in sys.modules if 'opentel' in n or 'prom' in n])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (finished.stdout, finished.stderr) == ("[]\n", "")
