"""kafka-python against $BOOTSTRAP: `names` lists the checks, any other argument runs one."""

import os
import sys
import uuid

import kafka
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

SERVERS = os.environ["BOOTSTRAP"]
START = 1_700_000_000_000


def fresh_topic(partitions=2):
    name = "kp-" + uuid.uuid4().hex[:8]
    admin = kafka.KafkaAdminClient(bootstrap_servers=SERVERS)
    admin.create_topics([NewTopic(name, partitions, 1)])
    admin.close()
    return name


def produce(topic, count, partitions, **options):
    producer = kafka.KafkaProducer(bootstrap_servers=SERVERS, **{"acks": "all", **options})
    sent = [
        producer.send(topic, str(i).encode(), partition=i % partitions, timestamp_ms=START + i, headers=[("h", b"x")])
        for i in range(count)
    ]
    offsets = [future.get(15).offset for future in sent]
    producer.close()
    return offsets


def consumer(*topics, **options):
    defaults = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "consumer_timeout_ms": 10000}
    return kafka.KafkaConsumer(*topics, bootstrap_servers=SERVERS, **{**defaults, **options})


def read(consumer, count):
    values = []
    for record in consumer:
        values.append(int(record.value))
        if len(values) == count:
            return values
    raise AssertionError(f"read {len(values)} of {count}")


def creates_describes_and_deletes_topics():
    topic = fresh_topic(3)
    admin = kafka.KafkaAdminClient(bootstrap_servers=SERVERS)
    assert topic in admin.list_topics()
    described = admin.describe_topics([topic])
    assert len(described[0]["partitions"]) == 3, described
    assert admin.describe_cluster()["brokers"], "no brokers"
    admin.delete_topics([topic])
    assert topic not in admin.list_topics()
    admin.close()


def describes_configs():
    topic = fresh_topic()
    admin = kafka.KafkaAdminClient(bootstrap_servers=SERVERS)
    described = str(admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all"))
    assert "retention.ms" in described and "604800000" in described, described[:500]
    admin.close()


def produces_with_gzip_and_plain():
    topic = fresh_topic(1)
    assert produce(topic, 100, 1) == list(range(100))
    assert produce(topic, 100, 1, compression_type="gzip") == list(range(100, 200))
    reader = consumer()
    reader.assign([kafka.TopicPartition(topic, 0)])
    reader.seek_to_beginning()
    assert read(reader, 200) == list(range(100)) * 2
    reader.close()


def produces_idempotently():
    topic = fresh_topic(1)
    assert produce(topic, 100, 1, enable_idempotence=True) == list(range(100))


def consumes_in_a_group_and_resumes_from_its_commit():
    topic = fresh_topic()
    produce(topic, 300, 2)
    first = consumer(topic, group_id="g-" + topic)
    assert sorted(read(first, 300)) == list(range(300))
    first.commit()
    assert first.committed(kafka.TopicPartition(topic, 0)) == 150
    first.close()
    produce(topic, 2, 2)
    second = consumer(topic, group_id="g-" + topic)
    assert sorted(read(second, 2)) == [0, 1]
    second.close()


def seeks_by_time():
    topic = fresh_topic(1)
    produce(topic, 1000, 1)
    partition = kafka.TopicPartition(topic, 0)
    reader = consumer()
    reader.assign([partition])
    found = reader.offsets_for_times({partition: START + 400})[partition]
    assert (found.offset, found.timestamp) == (400, START + 400), found
    reader.seek(partition, found.offset)
    assert read(reader, 600) == list(range(400, 1000))
    assert reader.beginning_offsets([partition])[partition] == 0 and reader.end_offsets([partition])[partition] == 1000
    reader.close()


CHECKS = [check for name, check in list(globals().items()) if callable(check) and getattr(check, "__module__", "") == "__main__"]
CHECKS = [c for c in CHECKS if c.__name__ not in {"fresh_topic", "produce", "consumer", "read"}]

if __name__ == "__main__":
    if sys.argv[1] == "names":
        print("\n".join(check.__name__ for check in CHECKS))
    else:
        next(check for check in CHECKS if check.__name__ == sys.argv[1])()
