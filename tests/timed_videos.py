"""Videos whose frames have given times."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from numbered_videos import HEIGHT, WIDTH, numbered

MS = Fraction(1, 1000)
# Ten frames for 200 ms each, then 60 at 30 per second, as phones and screen recorders store them.
VARIABLE = [*(200 * i for i in range(10)), *(2000 + 1000 * i // 30 for i in range(60))]


def write_timed(path, times, *, codec="libx264", options=None, sound=None, base=MS):
    """A video with these timestamps, in milliseconds.

    Args:
        sound: first and last time of its sound in seconds, if it has any.
    """
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=30, options=options or {"g": "12", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt, stream.time_base = WIDTH, HEIGHT, "yuv420p", base
        stream.codec_context.time_base = base
        stream.codec_context.thread_count = 1  # waiting threads of libvpx use all the CPU that they get
        audio = file.add_stream("mp2", rate=48000, layout="mono") if sound else None
        for n, time in enumerate(times):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(numbered(n)), format="rgb24")
            picture.pts, picture.time_base = round(time * MS / base), base
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
        if audio is not None:
            for at in range(round(sound[0] * 48000), round(sound[1] * 48000), 1152):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 48000, at, Fraction(1, 48000)
                file.mux(audio.encode(frame))
            file.mux(audio.encode(None))
    return path


def copy_packets(source, path, *, start=0, to=None, base=None):
    """The packets of an MP4 file in another container, from packet number `start` on, as `ffmpeg -c copy` does."""
    with av.open(str(source)) as file, av.open(str(path), "w", format=to) as copy:
        stream = file.streams.video[0]
        made = copy.add_stream_from_template(stream)
        if base is not None:
            made.time_base = base
        annex_b = av.BitStreamFilterContext("h264_mp4toannexb", stream) if path.suffix != ".mp4" else None
        for n, packet in enumerate(file.demux(stream)):
            if packet.size and n >= start:
                for out in annex_b.filter(packet) if annex_b else [packet]:
                    out.stream = made
                    copy.mux(out)
    return path
