#!/usr/bin/env bash
# tensorboardX 2.6.5 with NumPy 2.4.6.
#
# Belief: a SummaryWriter adds to what is in its folder. Its docs (tensorboardX/writer.py, SummaryWriter.__init__, purge_step)
#   say of it: "Note that crashed and resumed experiments should have the same logdir."
# Behaviour: its file is named by the whole second in which it is opened and by the host, and is opened to be written anew
#   (tensorboardX/event_file_writer.py, EventsWriter.__init__; record_writer.py, open_file): of two writers in one folder
#   within one second, the second one erases what the first one wrote.
# Seen: "files 1, steps [2, 3]" of the steps 0 to 3; with filename_suffix "files 2, steps [0, 1, 2, 3]".
# What we do: give each file a name with nanoseconds (tinynet/training/trackers.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/packages" "tensorboardX==2.6.5" "numpy==2.4.6"
PYTHONPATH="$folder/packages" python3 -W ignore - "$folder" <<'PYTHON'
import os
import struct
import sys
import time

from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event


def steps(folder: str) -> list[int]:
    """Steps of all scalars, as the TFRecord format defines it: length, checksum, data, checksum."""
    found = []
    for name in sorted(os.listdir(folder)):
        data, place = open(os.path.join(folder, name), "rb").read(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            event = Event.FromString(data[place + 12 : place + 12 + length])
            found += [event.step] * bool(event.summary.value)
            place += 16 + length
    return found


def write(folder: str, **options: str) -> None:
    for first in (0, 2):
        suffix = {name: f"{text}{first}" for name, text in options.items()}
        writer = SummaryWriter(folder, **suffix)
        for step in (first, first + 1):
            writer.add_scalar("loss", 0.5, step)
        writer.close()


for attempt in range(20):  # Until both are within one second.
    folder = os.path.join(sys.argv[1], f"log{attempt}")
    time.sleep(1 - time.time() % 1)
    second = int(time.time())
    write(folder)
    if int(time.time()) == second:
        break
print(f"files {len(os.listdir(folder))}, steps {steps(folder)}")
assert (len(os.listdir(folder)), steps(folder)) == (1, [2, 3])
folder = os.path.join(sys.argv[1], "named")
write(folder, filename_suffix=".run")
print(f"with filename_suffix: files {len(os.listdir(folder))}, steps {steps(folder)}")
assert (len(os.listdir(folder)), steps(folder)) == (2, [0, 1, 2, 3])
PYTHON
