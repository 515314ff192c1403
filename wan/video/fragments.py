"""Fragmented MP4, written as bytes: a header, then one fragment after another, each complete in itself.

What is in the file is playable at any moment, whatever happens next, because nothing is patched up at the end. Only
what a video of one H.264 track without B-frames needs is here; encoding is video.py's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

TRACK = 1
MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)  # unity
KEY_SAMPLE, OTHER_SAMPLE = 0x02000000, 0x01010000  # sample flags: depends on none / depends on others, no sync


@dataclass(frozen=True)
class Sample:
    """One encoded frame, its NAL units with length prefixes."""

    data: bytes
    key: bool


@dataclass(frozen=True)
class Track:
    """`decoder_config` is the avcC record; a frame lasts `duration` of `timescale` ticks a second."""

    width: int
    height: int
    timescale: int
    duration: int
    decoder_config: bytes


def box(kind: str, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind.encode()) + body


def full_box(kind: str, version: int, flags: int, *parts: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def header(track: Track) -> bytes:
    """File type and an empty movie that says "fragments follow"."""
    brands = box("ftyp", b"isom", struct.pack(">I", 512), b"isomiso5iso6avc1mp41")
    extends = box("mvex", full_box("trex", 0, 0, struct.pack(">5I", TRACK, 1, 0, 0, 0)))
    return brands + box("moov", _movie_header(track), _track(track), extends)


def fragment(track: Track, number: int, first_frame: int, samples: list[Sample]) -> bytes:
    """Fragment `number` (from 1), which begins with frame `first_frame` of the video."""
    # the payload offset counts from the start of moof, whose size does not depend on the offset's value
    size = len(_moof(track, number, first_frame, samples, 0))
    moof = _moof(track, number, first_frame, samples, size + 8)
    return moof + box("mdat", *(s.data for s in samples))


def _moof(track: Track, number: int, first_frame: int, samples: list[Sample], offset: int) -> bytes:
    base_is_moof, data_offset, sample_sizes, sample_flags = 0x020000, 0x000001, 0x000200, 0x000400
    default_duration = 0x000008
    rows = b"".join(struct.pack(">2I", len(s.data), KEY_SAMPLE if s.key else OTHER_SAMPLE) for s in samples)
    return box(
        "moof",
        full_box("mfhd", 0, 0, struct.pack(">I", number)),
        box(
            "traf",
            full_box("tfhd", 0, base_is_moof | default_duration, struct.pack(">2I", TRACK, track.duration)),
            full_box("tfdt", 1, 0, struct.pack(">Q", first_frame * track.duration)),
            full_box("trun", 0, data_offset | sample_sizes | sample_flags, struct.pack(">2I", len(samples), offset), rows),
        ),
    )  # fmt: skip


def _movie_header(track: Track) -> bytes:
    times = struct.pack(">4I", 0, 0, track.timescale, 0)
    rate_volume = struct.pack(">IHHII", 0x10000, 0x0100, 0, 0, 0)
    return full_box("mvhd", 0, 0, times, rate_volume, MATRIX, bytes(24), struct.pack(">I", TRACK + 1))


def _track(track: Track) -> bytes:
    enabled_in_movie = 3
    size = struct.pack(">2I", track.width << 16, track.height << 16)
    head = full_box("tkhd", 0, enabled_in_movie, struct.pack(">5I", 0, 0, TRACK, 0, 0), bytes(16), MATRIX, size)
    undetermined_language = 0x55C4
    media_head = full_box("mdhd", 0, 0, struct.pack(">4IHH", 0, 0, track.timescale, 0, undetermined_language, 0))
    handler = full_box("hdlr", 0, 0, struct.pack(">I4s", 0, b"vide"), bytes(12), b"video\0")
    return box("trak", head, box("mdia", media_head, handler, _media_info(track)))


def _media_info(track: Track) -> bytes:
    self_contained = 1
    where = box("dinf", full_box("dref", 0, 0, struct.pack(">I", 1), full_box("url ", 0, self_contained)))
    none_here = [full_box(kind, 0, 0, struct.pack(">I", 0)) for kind in ("stts", "stsc", "stco")]
    no_sizes = full_box("stsz", 0, 0, struct.pack(">2I", 0, 0))
    described = full_box("stsd", 0, 0, struct.pack(">I", 1), _sample_entry(track))
    tables = box("stbl", described, none_here[0], none_here[1], no_sizes, none_here[2])
    return box("minf", full_box("vmhd", 0, 1, bytes(8)), where, tables)


def _sample_entry(track: Track) -> bytes:
    pixels_per_inch, depth = 0x480000, 24
    return box(
        "avc1",
        struct.pack(">6xH16x", 1),
        struct.pack(">2H2IIH32xHh", track.width, track.height, pixels_per_inch, pixels_per_inch, 0, 1, depth, -1),
        box("avcC", track.decoder_config),
        box("colr", b"nclx", struct.pack(">3HB", 1, 1, 1, 0)),  # BT.709, limited range
    )
