"""The workflow 1 -> 5 -> 25 -> 1 in Celery: `celery.py worker`, or `celery.py measure ALONE SATURATED`."""

import json
import os
import statistics
import sys
import time
import uuid

# The script's folder would be searched first, and this file has the library's name.
sys.path = [path for path in sys.path if os.path.abspath(path or ".") != os.path.dirname(os.path.abspath(__file__))]

from celery import Celery, chord  # noqa: E402
from celery.result import AsyncResult  # noqa: E402

CHAPTERS = 5
SEGMENTS = 5

app = Celery("__main__", broker=os.environ["PEER_BROKER"], backend=os.environ["PEER_REDIS"] + "5")
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    result_expires=3600,
    task_acks_late=True,
    task_default_delivery_mode="persistent",
    worker_prefetch_multiplier=16,
    worker_send_task_events=False,
)


@app.task(name="outline")
def outline(workflow):
    chord([script.s(chapter) for chapter in range(CHAPTERS)], fan_out.s(workflow)).apply_async()


@app.task(name="script")
def script(chapter):
    return [[chapter, segment] for segment in range(SEGMENTS)]


@app.task(name="fan_out")
def fan_out(scripts, workflow):
    turns = [turn for turns in scripts for turn in turns]
    chord([speech.s(turn) for turn in turns], stitch.s().set(task_id=workflow)).apply_async()


@app.task(name="speech")
def speech(turn):
    return turn


@app.task(name="stitch")
def stitch(segments):
    return len(segments)


def begin():
    workflow = uuid.uuid4().hex
    outline.apply_async((workflow,))
    return workflow


def end(workflow):
    count = AsyncResult(workflow, app=app).get(timeout=120, interval=0.002)
    assert count == CHAPTERS * SEGMENTS, count


def measure(alone, saturated):
    for _ in range(3):
        end(begin())
    took = []
    for _ in range(alone):
        started = time.perf_counter()
        end(begin())
        took.append(time.perf_counter() - started)
    started = time.perf_counter()
    for workflow in [begin() for _ in range(saturated)]:
        end(workflow)
    rate = saturated / (time.perf_counter() - started)
    print(json.dumps({"alone_ms": statistics.median(took) * 1000, "per_second": rate}))


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        app.worker_main(["worker", "--concurrency", "4", "--loglevel", "warning", "-O", "fair"])
    else:
        measure(int(sys.argv[2]), int(sys.argv[3]))
