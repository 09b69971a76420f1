"""Transactions of confluent-kafka (librdkafka) against $BOOTSTRAP: `names` lists the checks, any other argument runs one."""
import os
import sys
import time
import uuid

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BOOTSTRAP = os.environ["BOOTSTRAP"]
ADMIN = AdminClient({"bootstrap.servers": BOOTSTRAP})  # Kept: a client that is collected gives up what it was asked.


def producer(transactional_id, **more):
    settings = {"bootstrap.servers": BOOTSTRAP, "transactional.id": transactional_id, "linger.ms": 1}
    made = Producer(settings | more)
    made.init_transactions(30)
    return made


def topic(partitions):
    name = f"transactions-{uuid.uuid4().hex[:8]}"
    ADMIN.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
    return name


def read(name, partitions, isolation):
    """All values up to where such a consumer may read."""
    consumer = Consumer({
        "bootstrap.servers": BOOTSTRAP, "group.id": f"reader-{uuid.uuid4().hex}", "isolation.level": isolation,
        "enable.partition.eof": True, "enable.auto.commit": False, "auto.offset.reset": "earliest",
    })
    consumer.assign([TopicPartition(name, partition, 0) for partition in range(partitions)])
    values, ended, deadline = [], set(), time.monotonic() + 60
    while len(ended) < partitions:
        assert time.monotonic() < deadline, "the end of a partition is not reached"
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error() is None:
            values.append(message.value().decode())
        else:
            assert message.error().name() == "_PARTITION_EOF", message.error()
            ended.add(message.partition())
    consumer.close()
    return values


def isolates():
    """Committed records are read, aborted ones are not, and nothing behind an open transaction."""
    name = topic(3)
    writer, other = producer(f"a-{name}"), producer(f"b-{name}")
    expected = []
    for round in range(10):
        writer.begin_transaction()
        for i in range(30):
            writer.produce(name, f"{round}/{i}", partition=i % 3)
        if round % 2 == 0:
            writer.commit_transaction(30)
            expected += [f"{round}/{i}" for i in range(30)]
        else:
            writer.abort_transaction(30)
    other.begin_transaction()
    other.produce(name, "open", partition=0)
    other.flush(30)
    writer.begin_transaction()
    writer.produce(name, "behind", partition=0)
    writer.produce(name, "beside", partition=1)
    writer.commit_transaction(30)
    expected.append("beside")
    assert sorted(read(name, 3, "read_committed")) == sorted(expected)
    everything = read(name, 3, "read_uncommitted")
    assert len(everything) >= 150 + 3 and "open" in everything and "behind" in everything
    other.abort_transaction(30)
    assert sorted(read(name, 3, "read_committed")) == sorted(expected + ["behind"])


def fences():
    """A second producer of the same transactional id ends what the first one has begun."""
    name = topic(1)
    first = producer(f"f-{name}")
    first.begin_transaction()
    first.produce(name, "first")
    first.flush(30)
    second = producer(f"f-{name}")
    second.begin_transaction()
    second.produce(name, "second")
    second.commit_transaction(30)
    try:
        first.produce(name, "late")
        first.commit_transaction(30)
    except KafkaException as error:
        assert error.args[0].fatal() or error.args[0].txn_requires_abort(), error
    else:
        raise AssertionError("a fenced producer commits")
    assert read(name, 1, "read_committed") == ["second"]


def times_out():
    """A transaction whose producer is silent is aborted, and its producer fenced."""
    name = topic(1)
    silent = producer(f"t-{name}", **{"transaction.timeout.ms": 1000, "message.timeout.ms": 1000})
    silent.begin_transaction()
    silent.produce(name, "silent")
    silent.flush(30)
    writer = producer(f"w-{name}")
    writer.begin_transaction()
    writer.produce(name, "written")
    writer.commit_transaction(30)
    deadline = time.monotonic() + 30
    while read(name, 1, "read_committed") != ["written"]:
        assert time.monotonic() < deadline, "the transaction is not aborted"
        time.sleep(0.2)
    try:
        silent.commit_transaction(30)
    except KafkaException:
        return
    raise AssertionError("an aborted transaction commits")


def sends_offsets():
    """A group's offsets count when the transaction commits, and only then."""
    source, sink = topic(1), topic(1)
    filler = Producer({"bootstrap.servers": BOOTSTRAP})
    for i in range(100):
        filler.produce(source, str(i))
    filler.flush(30)
    group = f"g-{source}"
    settings = {
        "bootstrap.servers": BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "isolation.level": "read_committed",
    }
    writer = producer(f"c-{source}")
    for is_commit in (False, True, False):
        consumer = Consumer(settings)
        consumer.subscribe([source])
        before = consumer.committed([TopicPartition(source, 0)], 30)[0].offset
        messages = []
        while len(messages) < 40:
            message = consumer.poll(30)
            assert message is not None and message.error() is None, message
            messages.append(message)
        writer.begin_transaction()
        for message in messages:
            writer.produce(sink, message.value())
        writer.send_offsets_to_transaction(
            consumer.position([TopicPartition(source, 0)]), consumer.consumer_group_metadata(), 30)
        if is_commit:
            writer.commit_transaction(30)
        else:
            writer.abort_transaction(30)
        after = consumer.committed([TopicPartition(source, 0)], 30)[0].offset
        assert after == (messages[-1].offset() + 1 if is_commit else before), (before, after)
        consumer.close()
    assert read(sink, 1, "read_committed") == [str(i) for i in range(40)]


CHECKS = {check.__name__: check for check in (isolates, fences, times_out, sends_offsets)}

if __name__ == "__main__":
    if sys.argv[1] == "names":
        print("\n".join(CHECKS))
    else:
        CHECKS[sys.argv[1]]()
