"""videos: one row a source file that could be probed."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, column, table, within

BREAKS = pa.list_(
    pa.struct(
        [
            pa.field("packet", pa.int64(), metadata={"comment": "number of the video packet behind the break"}),
            pa.field("shift_s", pa.float64(), metadata={"comment": "seconds to add to the container's times from there on"}),
        ]
    )
)

TABLE = table(
    "videos",
    ("video_id",),
    "One row a source file that could be probed.",
    column("video_id", pa.string(), "uuid5 of the uri and a hash of the content", nullable=False),
    column("uri", pa.string(), "where the file lies", nullable=False),
    column("source_version", pa.string(), "size and time of change (or etag) when it was ingested", nullable=False),
    column("content_tag", pa.string(), "size, a hash of head and tail, one of samples between: equal for equal bytes anywhere"),
    column("size", pa.int64(), "bytes"),
    column("container", pa.string(), "demuxer that reads it"),
    column("width", pa.int32(), "pixels, before rotation"),
    column("height", pa.int32(), "pixels, before rotation"),
    column("framerate", pa.float64(), "frames per second as measured: of even frames their rate, else on average"),
    column("num_frames", pa.int64(), "frames shown, as the packets say; without them as the header says"),
    column("duration_s", pa.float64(), "seconds from the first shown frame to the end of the last, gaps of the clock left out"),
    column("start_time_s", pa.float64(), "time of the first shown frame on the container's clock, seconds"),
    column("video_codec", pa.string(), "decoder name"),
    column("pixel_format", pa.string(), "as coded"),
    column("audio_codec", pa.string(), "of the sound track that is taken, NULL without one"),
    column("bit_rate_k", pa.int64(), "kbit a second of the video stream, else of the container"),
    column("rotation", pa.int32(), "degrees counter-clockwise that a player turns it by: 0, 90, 180, 270"),
    column("is_mirrored", pa.bool_(), "a player mirrors it left to right before it turns it"),
    column("sample_aspect_ratio", pa.float64(), "width of a pixel over its height: 1 for square ones"),
    column("field_order", pa.string(), "progressive, tt, bb, tb or bt, by FFmpeg's names"),
    column("color_primaries", pa.string(), "FFmpeg's name, as bt709; NULL if unspecified"),
    column("color_transfer", pa.string(), "FFmpeg's name, as smpte2084 (PQ); NULL if unspecified"),
    column("color_space", pa.string(), "matrix by FFmpeg's name, as bt709; NULL if unspecified"),
    column("color_range", pa.string(), "tv (limited) or pc (full); NULL if unspecified"),
    column("bit_depth", pa.int32(), "bits of a colour component"),
    column("is_hdr", pa.bool_(), "the transfer is PQ or HLG"),
    column("is_vfr", pa.bool_(), "the spacing of frames varies somewhere: a variable frame rate"),
    column("timing", pa.string(), "what times were read from: index (of an mp4), packets, or header (a remote file's)"),
    column("frame_times", pa.binary(), "when each frame is shown, deflated; NULL where all lie on the frame rate's grid"),
    column("num_hidden_frames", pa.int64(), "frames that an edit list hides; NULL where only the header was read"),
    column("clock_breaks", BREAKS, "where the container's clock wraps, restarts or jumps; NULL if nowhere"),
    column("reorder_s", pa.float64(), "seconds from decoding to showing a frame at most, where some claim far more; else NULL"),
    column("header_num_frames", pa.int64(), "frames as the header claims, where that differs"),
    column("header_framerate", pa.float64(), "frames per second as the header claims, where that differs"),
    column("header_duration_s", pa.float64(), "seconds as the header claims, where that differs"),
    column("attributes", pa.map_(pa.string(), pa.string()), "the manifest's other columns"),
    FINGERPRINT,
    RUN_ID,
    checks={
        "size": within("size", 0),
        "width": within("width", 1),
        "height": within("height", 1),
        "frames": within("num_frames", 1),
        "duration": within("duration_s", 0),
    },
)
