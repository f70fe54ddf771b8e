// A stream in progress between two answers of the viewer: its clock goes on, and so does a read that is blocked.

/** The same detail, `elapsed` milliseconds after it was fetched. */
export function advanced(detail, elapsed) {
  const { stream } = detail;
  if (!stream.running) return detail;
  const running = { ...stream.running, now_us: stream.running.now_us + elapsed * 1000 };
  const changed = { ...stream, running, duration_ms: running.now_us / 1000 };
  if (running.phase === "tokens") {
    changed.stall_total_ms = stream.stall_total_ms + elapsed;
    changed.wait_max_ms = Math.max(stream.wait_max_ms, (running.now_us - running.blocked_since_us) / 1000);
    changed.gap_max_ms = Math.max(stream.gap_max_ms, (running.now_us - running.arrived_us) / 1000);
  }
  return { ...detail, stream: changed };
}

/** What of a detail is new when the viewer answers again, whatever the time is. */
export function told(detail) {
  const { running, duration_ms, stall_total_ms, wait_max_ms, gap_max_ms, ...stream } = detail.stream;
  return JSON.stringify(running ? { ...detail, stream } : detail);
}
