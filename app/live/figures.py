"""Rate and latency of the running program: lately, for the screen, and over all, for the report."""

from __future__ import annotations

import math
import threading
import time
from collections import deque

import numpy as np

from ..distribution import Distribution

RECENT_S = 3.0


class Figures:
    """Counts what was shown (or, without a picture, worked out) and how old it then was. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: deque[tuple[float, float]] = deque()  # when, latency_s
        self._latency_ms = Distribution()
        self.count = 0

    def add(self, latency_s: float) -> None:
        """Count one. latency_s: since its pictures were taken, NaN when that cannot be told."""
        now_s = time.monotonic()
        with self._lock:
            self.count += 1
            self._recent.append((now_s, latency_s))
            while self._recent[0][0] < now_s - RECENT_S:
                self._recent.popleft()
            if math.isfinite(latency_s):
                self._latency_ms.add(np.array([latency_s * 1e3]))

    def recent(self) -> tuple[float, float, float]:
        """Per second, median and 95th percentile of the latency in milliseconds, of the last seconds; NaN for none."""
        now_s = time.monotonic()
        with self._lock:
            lately = [each for each in self._recent if each[0] >= now_s - RECENT_S]
        if len(lately) < 3:
            return math.nan, math.nan, math.nan
        rate_hz = (len(lately) - 1) / (lately[-1][0] - lately[0][0])
        latencies_ms = np.array([latency_s for _, latency_s in lately]) * 1e3
        latencies_ms = latencies_ms[np.isfinite(latencies_ms)]
        if not latencies_ms.size:
            return rate_hz, math.nan, math.nan
        median_ms, p95_ms = np.percentile(latencies_ms, [50, 95])
        return rate_hz, float(median_ms), float(p95_ms)

    def overall_ms(self) -> dict[str, float]:
        """Median and p95 of the latency since the start, in milliseconds."""
        with self._lock:
            return self._latency_ms.median_and_p95()
