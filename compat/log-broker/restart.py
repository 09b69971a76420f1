"""Members of groups over a kill -9 of the broker: `restart.py READY DONE`. Says READY (a file) when all is stable, waits for the
file DONE, and fails if any member loses or gets a partition after that, or records do not arrive."""

import os
import sys
import time
import uuid

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient, NewTopic

SERVERS = {"bootstrap.servers": os.environ["BOOTSTRAP"], "reconnect.backoff.max.ms": 500, "log_level": 0}
ADMIN = AdminClient(SERVERS)
TOPIC = "restart-" + uuid.uuid4().hex[:8]
ADMIN.create_topics([NewTopic(TOPIC, 2, 1)])[TOPIC].result(15)
events = []


def member(group, **options):
    consumer = ck.Consumer({**SERVERS, "group.id": group, "session.timeout.ms": 45000, "heartbeat.interval.ms": 500, **options})
    note = lambda what: lambda consumer, partitions: events.append((group, what, len(partitions)))
    consumer.subscribe([TOPIC], on_assign=note("assigned"), on_revoke=note("revoked"), on_lost=note("lost"))
    return consumer


static, dynamic = uuid.uuid4().hex, uuid.uuid4().hex
members = [member(static, **{"group.instance.id": name}) for name in ("one", "two")] + [member(dynamic) for _ in range(2)]


def poll(seconds, until=lambda: False):
    values, deadline = [], time.time() + seconds
    while time.time() < deadline and not until():
        for consumer in members:
            message = consumer.poll(0.05)
            if message and not message.error():
                values.append(message.value())
    return values


poll(30, lambda: all(len(consumer.assignment()) == 1 for consumer in members))
assert all(len(consumer.assignment()) == 1 for consumer in members), events
poll(1)
events.clear()
open(sys.argv[1], "w").close()
poll(30, lambda: os.path.exists(sys.argv[2]))
producer = ck.Producer(SERVERS)
for i in range(20):
    producer.produce(TOPIC, str(i), partition=i % 2)
assert producer.flush(20) == 0
seen = []
deadline = time.time() + 30
while len(seen) < 40 and time.time() < deadline:
    seen += poll(0.5)
assert not events, events
assert len(seen) == 40, f"read {len(seen)} of 40"
os._exit(0)
