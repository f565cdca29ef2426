"""Counts and times of a server, in the text form that Prometheus reads (exposition format 0.0.4)."""

import threading
from collections.abc import Callable, Sequence

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_HELP = {
    "rivega_requests_total": ("counter", "Requests answered, by path, method and status."),
    "rivega_request_seconds": ("histogram", "Time from a request's head to the end of its answer."),
    "rivega_posts_total": ("counter", "Posts that went through the pipeline."),
    "rivega_posts_with_errors_total": ("counter", "Posts of which something could not be done."),
    "rivega_batch_posts": ("histogram", "Posts that went through the pipeline together."),
    "rivega_batch_seconds": ("histogram", "Time of a batch in the pipeline."),
    "rivega_posts_waiting": ("gauge", "Posts that wait for the pipeline."),
    "rivega_requests_open": ("gauge", "Requests under way, GET requests aside."),
    "rivega_picture_cache_bytes": ("gauge", "Bytes of the decoded pictures that are kept."),
    "rivega_body_bytes_held": ("gauge", "Bytes of the bodies of requests under way."),
}
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters, histograms and gauges; any thread may add to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[Labels, float]] = {}
        self._times: dict[str, dict[Labels, list[float]]] = {}
        self._gauges: dict[str, Callable[[], float]] = {}

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            held = self._counts.setdefault(name, {})
            key = tuple(sorted(labels.items()))
            held[key] = held.get(key, 0) + by

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        bounds = _bounds(name)
        with self._lock:
            held = self._times.setdefault(name, {}).setdefault(tuple(sorted(labels.items())), [0.0] * (len(bounds) + 2))
            for place, bound in enumerate(bounds):
                held[place] += value <= bound
            held[-2] += 1
            held[-1] += value

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Name what is read whenever somebody looks."""
        self._gauges[name] = read

    def text(self) -> str:
        """All of them."""
        with self._lock:
            lines: list[str] = []
            for name, (kind, about) in _HELP.items():
                lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
                lines += [f"{name}{_labels(key)} {value:g}" for key, value in sorted(self._counts.get(name, {}).items())]
                for key, held in sorted(self._times.get(name, {}).items()):
                    for bound, value in zip([*map(str, _bounds(name)), "+Inf"], held):
                        lines.append(f"{name}_bucket{_labels((*key, ('le', bound)))} {value:g}")
                    lines += [f"{name}_count{_labels(key)} {held[-2]:g}", f"{name}_sum{_labels(key)} {held[-1]:.6g}"]
                if name in self._gauges:
                    lines.append(f"{name} {self._gauges[name]():g}")
        return "\n".join(lines) + "\n"


def _bounds(name: str) -> Sequence[float]:
    return _SIZES if name.endswith("_posts") else _SECONDS


def _labels(key: Labels) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in key) + "}" if key else ""
