"""What `wan22` says about videos it has made, for people."""

from __future__ import annotations

from typing import Any


def made_videos(data: dict[str, Any]) -> str:
    return "\n".join(line for video in data["videos"] for line in _lines(video))


def _lines(video: dict[str, Any]) -> list[str]:
    s, totals = video["seconds"], video["totals"]
    peak = f"; peak {video['peak_gib']:.1f} GiB" if video["peak_gib"] else ""
    return [
        f"{video['video']}: {video['frames']} frames of {video['size'].replace('*', 'x')}, seed {video['seed']}",
        f"  text {s['text']:.1f} s, {totals['high']} high-noise steps {s['high']:.1f} s, {totals['low']} low-noise steps {s.get('low', 0.0):.1f} s,"
        f" decoding {s['decode']:.1f} s, loading {s['load']:.1f} s, switch {s['switch']:.1f} s{peak}",
    ]
