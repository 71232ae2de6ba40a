"""What a server counts, in Prometheus' text form; each server has a registry of its own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

FAST = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Meters:
    """Requests, batches and jobs."""

    def __init__(self, *, waiting: Callable[[], int], running: Callable[[], bool]) -> None:
        self.registry = own = CollectorRegistry()
        names = ["route", "method", "status"]
        self.requests = Counter("personagen_requests", "Requests answered", names, registry=own)
        self.seconds = Histogram(
            "personagen_request_seconds", "Seconds from request to answer", ["route"], buckets=FAST, registry=own
        )
        self.batch = Histogram("personagen_rank_batch", "Requests ranked at once", buckets=SIZES, registry=own)
        self.jobs = Counter("personagen_jobs", "Jobs taken in", ["kind"], registry=own)
        self.open = Gauge("personagen_requests_open", "Requests in work", registry=own)
        Gauge("personagen_jobs_waiting", "Jobs that wait", registry=own).set_function(waiting)
        Gauge("personagen_jobs_running", "Jobs in work", registry=own).set_function(running)

    def text(self) -> bytes:
        """Write all of it."""
        return generate_latest(self.registry)
