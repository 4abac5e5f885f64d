"""OpenMetrics while a capture runs (the one importer of prometheus-client)."""

from ktrace.errors import KtraceError
from ktrace.findings import Connection

MAX_PORTS = 32  # peers are labelled by port, and these many at most: the rest is "other"
MARGINS = (-1e-1, -1e-2, -1e-3, -1e-4, 0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


class Metrics:
    """Counts connections as they end, and serves the counts."""

    def __init__(self, host: str, port: int) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
        except ImportError:
            raise KtraceError(
                "no-prometheus-client",
                "--metrics needs the Python package prometheus-client",
                "install it, or ktrace with its extra: pip install 'ktrace[live]'",
            ) from None
        registry = CollectorRegistry()
        labels = ["role", "outcome", "ordering", "peer_port"]
        text = "Connections that have ended."
        self._connections = Counter("ktrace_connections", text, labels, registry=registry)
        text = "ULP attempt minus the moment ESTABLISHED was reached."
        self._margin = Histogram("ktrace_margin_seconds", text, buckets=MARGINS, registry=registry)
        text = "Events that the kernel could not hand over."
        self._lost = Counter("ktrace_lost_events", text, registry=registry)
        self._events = Counter("ktrace_events", "Events seen.", registry=registry)
        self._ports: set[str] = set()
        self._lost_before = self._events_before = 0
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise KtraceError(
                "metrics-address",
                f"cannot serve metrics on {host}:{port}: {error.strerror}",
                "choose another address, such as --metrics 127.0.0.1:9464",
            ) from None

    def connection(self, connection: Connection) -> None:
        """Count one connection."""
        self._connections.labels(
            connection.role,
            connection.outcome,
            connection.ordering or "none",
            self._port(connection),
        ).inc()
        if connection.margin_us is not None and connection.ordering is not None:
            self._margin.observe(connection.margin_us / 1e6)

    def totals(self, events: int, lost: int) -> None:
        """Bring the counters of events up to these totals."""
        self._events.inc(events - self._events_before)
        self._lost.inc(lost - self._lost_before)
        self._events_before, self._lost_before = events, lost

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _port(self, connection: Connection) -> str:
        if connection.role != "client" or connection.peer is None:
            return "none"
        port = connection.peer.rpartition(":")[2]
        if port not in self._ports and len(self._ports) >= MAX_PORTS:
            return "other"
        self._ports.add(port)
        return port
