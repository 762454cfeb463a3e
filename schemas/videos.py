"""videos: one row per source file that could be probed."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, at_least, column, table, within

BREAKS = pa.list_(
    pa.struct(
        [
            pa.field(
                "packet",
                pa.int64(),
                metadata={"comment": "number of the first video packet after the break, from 0 in file order"},
            ),
            pa.field(
                "shift_s",
                pa.float64(),
                metadata={"comment": "seconds to add to the container's times from that packet on"},
            ),
        ]
    )
)

TABLE = table(
    "videos",
    ("video_id",),
    "One row per source file that could be probed.",
    column("video_id", pa.string(), "uuid5 of the uri and a hash of the content", nullable=False),
    column("uri", pa.string(), "path or address of the file, without password and signature", nullable=False),
    column("source_version", pa.string(), "size and time of change (or etag) when it was ingested", nullable=False),
    column(
        "content_tag",
        pa.string(),
        "size, a hash of head and tail, a hash of samples between them: equal for equal files anywhere",
    ),
    column("size", pa.int64(), "size of the file in bytes"),
    column("container", pa.string(), "FFmpeg demuxer that reads it"),
    column("width", pa.int32(), "pixels, before rotation"),
    column("height", pa.int32(), "pixels, before rotation"),
    column("framerate", pa.float64(), "frames per second as measured; the average if the frames are not evenly spaced"),
    column("num_frames", pa.int64(), "frames shown, by the packets; where only the header was read, by the header"),
    column(
        "duration_s",
        pa.float64(),
        "seconds from the first shown frame to the end of the last one, without clock_breaks",
    ),
    column("start_time_s", pa.float64(), "time of the first shown frame on the container's clock, seconds"),
    column("video_codec", pa.string(), "decoder name"),
    column("pixel_format", pa.string(), "FFmpeg's name of the pixel format as coded"),
    column(
        "audio_codec", pa.string(), "decoder name of the sound track that clips take by default; NULL without sound"
    ),
    column("bit_rate_k", pa.int64(), "kbit per second of the video stream, else of the container"),
    column("rotation", pa.int32(), "degrees counter-clockwise that a player turns it by: 0, 90, 180, 270"),
    column("is_mirrored", pa.bool_(), "a player mirrors it left to right before it rotates it"),
    column("sample_aspect_ratio", pa.float64(), "width of a pixel over its height: 1 if square"),
    column("field_order", pa.string(), "FFmpeg's name: progressive, tt, bb, tb or bt"),
    column("color_primaries", pa.string(), "FFmpeg's name, such as bt709; NULL if unspecified"),
    column(
        "color_transfer",
        pa.string(),
        "FFmpeg's name of the transfer characteristic, such as smpte2084 (PQ); NULL if unspecified",
    ),
    column("color_space", pa.string(), "FFmpeg's name of the matrix, such as bt709; NULL if unspecified"),
    column("color_range", pa.string(), "tv (limited) or pc (full); NULL if unspecified"),
    column("bit_depth", pa.int32(), "bits per color component"),
    column("is_hdr", pa.bool_(), "whether the transfer characteristic is PQ or HLG"),
    column("is_vfr", pa.bool_(), "variable frame rate: the time between frames varies by over a tenth"),
    column("timing", pa.string(), "source of the times: index (of an mp4), packets, or header (of a remote file)"),
    column(
        "frame_times",
        pa.binary(),
        "when each frame is shown: differences in microseconds, int64, compressed with zlib; "
        "NULL if frames are evenly spaced",
    ),
    column(
        "num_hidden_frames",
        pa.int64(),
        "frames that are not shown, as by an edit list; NULL where only the header was read",
    ),
    column("clock_breaks", BREAKS, "where the container's time stamps wrap, restart or jump; NULL if nowhere"),
    column(
        "reorder_s",
        pa.float64(),
        "longest true delay from decoding to showing a frame, seconds; NULL unless some frames state a far longer one",
    ),
    column(
        "footage_warning",
        pa.string(),
        "which part of the picture or the sound is in no clip; NULL if none is known to be lost",
    ),
    column("header_num_frames", pa.int64(), "frames by the header; NULL if that is what was measured"),
    column("header_framerate", pa.float64(), "frames per second by the header; NULL if that is what was measured"),
    column("header_duration_s", pa.float64(), "seconds by the header; NULL if that is what was measured"),
    column("attributes", pa.map_(pa.string(), pa.string()), "the manifest's other columns"),
    FINGERPRINT,
    RUN_ID,
    checks={
        "size": within("size", 0),
        "width": within("width", 1),
        "height": within("height", 1),
        "frames": within("num_frames", 1),
        "duration": at_least("duration_s", 0),
    },
)
