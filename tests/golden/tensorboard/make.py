"""Writes events.tfevents by TensorBoard's own code: `pip install tensorboard==2.21.0`, `python3 make.py`."""

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

TIME = 1_700_000_000.25


def scalars(**values):
    return Summary(value=[Summary.Value(tag=f"train/{tag}", simple_value=value) for tag, value in values.items()])


def image(tag, height, width, png):
    picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag=tag, image=picture)])


with open("events.tfevents", "wb") as out:
    records = RecordWriter(out)
    for event in [
        Event(wall_time=TIME, file_version="brain.Event:2"),
        Event(wall_time=TIME, step=301, session_log=SessionLog(status=SessionLog.START)),
        Event(wall_time=TIME, step=301, summary=scalars(loss=0.5, gradient=0.0)),
        Event(wall_time=TIME, step=400, summary=image("samples", 3, 300, bytes(range(256)))),
    ]:
        records.write(event.SerializeToString())
    records.flush()
