"""confluent-kafka (librdkafka) against $BOOTSTRAP: `names` lists the checks, any other argument runs one."""

import os
import sys
import time
import uuid

import confluent_kafka as ck
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType,
)

SERVERS = {"bootstrap.servers": os.environ["BOOTSTRAP"]}
START = 1_700_000_000_000


ADMIN = AdminClient(SERVERS)  # Kept: a client that is collected gives up what it was asked.


def admin():
    return ADMIN


def fresh_topic(partitions=3, config=None):
    name = "ck-" + uuid.uuid4().hex[:8]
    admin().create_topics([NewTopic(name, partitions, 1, config=config or {})])[name].result(15)
    return name


def produce(topic, count, partitions, **options):
    failures = []
    producer = ck.Producer({**SERVERS, "linger.ms": 5, **options})
    report = lambda error, message: failures.append(error) if error else None
    for i in range(count):
        producer.produce(topic, str(i), key=str(i % 7), partition=i % partitions, timestamp=START + i, on_delivery=report)
    assert producer.flush(20) == 0 and not failures, failures


def consumer(group, **options):
    return ck.Consumer({**SERVERS, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False, **options})


def read(consumer, count, seconds=20):
    values, deadline = [], time.time() + seconds
    while len(values) < count and time.time() < deadline:
        for message in consumer.consume(500, 0.5):
            assert not message.error(), message.error()
            values.append(int(message.value()))
    assert len(values) >= count, f"read {len(values)} of {count}"
    return values


def creates_and_deletes_topics():
    topic = fresh_topic()
    try:
        admin().create_topics([NewTopic(topic, 1, 1)])[topic].result(15)
        raise AssertionError("created twice")
    except ck.KafkaException as error:
        assert error.args[0].code() == ck.KafkaError.TOPIC_ALREADY_EXISTS, error
    assert len(admin().list_topics(topic).topics[topic].partitions) == 3
    admin().delete_topics([topic])[topic].result(15)
    assert topic not in admin().list_topics().topics


def refuses_what_it_cannot_do_by_name():
    for config, said in [({"remote.storage.enable": "true"}, "tiered storage"), ({"no.such": "1"}, "no.such")]:
        topic = "ck-" + uuid.uuid4().hex[:8]
        try:
            admin().create_topics([NewTopic(topic, 1, 1, config=config)])[topic].result(15)
            raise AssertionError("accepted")
        except ck.KafkaException as error:
            assert error.args[0].code() == ck.KafkaError.INVALID_CONFIG and said in error.args[0].str(), error


def describes_and_alters_configs():
    topic = fresh_topic(config={"retention.ms": "123456789"})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    described = admin().describe_configs([resource])[resource].result(15)
    assert described["retention.ms"].value == "123456789" and described["retention.ms"].source == 1, described
    assert described["segment.bytes"].value == "1073741824" and described["segment.bytes"].source == 5
    change = ConfigEntry("retention.bytes", "5000000", incremental_operation=AlterConfigOpType.SET)
    altered = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])
    admin().incremental_alter_configs([altered])[altered].result(15)
    described = admin().describe_configs([resource])[resource].result(15)
    assert described["retention.bytes"].value == "5000000" and described["retention.ms"].value == "123456789"
    broker = ConfigResource(ResourceType.BROKER, "0")
    described = admin().describe_configs([broker])[broker].result(15)
    assert described["num.partitions"].value == "4" and described["num.partitions"].source == 4, described["num.partitions"]


def describes_the_cluster():
    cluster = admin().describe_cluster().result(15)
    assert len(cluster.nodes) == 1 and cluster.controller.id == 0 and len(cluster.cluster_id) == 22, cluster


def adds_partitions():
    topic = fresh_topic(1)
    admin().create_partitions([NewPartitions(topic, 4)])[topic].result(15)
    assert len(admin().list_topics(topic).topics[topic].partitions) == 4
    produce(topic, 40, 4)


def produces_idempotently_with_every_codec():
    topic = fresh_topic(1)
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        produce(topic, 200, 1, **{"enable.idempotence": True, "compression.type": codec})
    reader = consumer("g-" + topic)
    reader.assign([ck.TopicPartition(topic, 0, 0)])
    assert read(reader, 1000) == list(range(200)) * 5
    reader.close()


def produces_without_acknowledgements():
    topic = fresh_topic(1)
    produce(topic, 50, 1, acks=0)
    produce(topic, 50, 1, acks=1)
    reader = consumer("g-" + topic)
    reader.assign([ck.TopicPartition(topic, 0, 0)])
    read(reader, 100)
    reader.close()


def consumes_in_a_group_and_resumes_from_its_commit():
    topic = fresh_topic()
    produce(topic, 900, 3)
    first = consumer("g-" + topic)
    first.subscribe([topic])
    assert sorted(read(first, 900)) == list(range(900))
    first.commit(asynchronous=False)
    partitions = [ck.TopicPartition(topic, i) for i in range(3)]
    assert [p.offset for p in first.committed(partitions, 10)] == [300] * 3
    first.close()
    produce(topic, 3, 3)
    second = consumer("g-" + topic)
    second.subscribe([topic])
    assert sorted(read(second, 3)) == [0, 1, 2]
    second.close()


def rebalances_between_two_members():
    topic = fresh_topic(4)
    for strategy in ["range", "cooperative-sticky"]:
        group = f"g-{topic}-{strategy}"
        members = [consumer(group, **{"partition.assignment.strategy": strategy}) for _ in range(2)]
        for member in members:
            member.subscribe([topic])
        deadline = time.time() + 30
        while [len(member.assignment()) for member in members] != [2, 2]:
            assert time.time() < deadline, [member.assignment() for member in members]
            for member in members:
                member.poll(0.2)
        members[0].close()
        while len(members[1].assignment()) != 4:
            assert time.time() < deadline, members[1].assignment()
            members[1].poll(0.2)
        members[1].close()


def keeps_static_members_without_a_rebalance():
    topic, group = fresh_topic(2), "static-" + uuid.uuid4().hex[:6]
    options = {"group.instance.id": "one", "session.timeout.ms": 20000}
    member = consumer(group, **options)
    member.subscribe([topic])
    deadline = time.time() + 20
    while len(member.assignment()) != 2:
        assert time.time() < deadline
        member.poll(0.2)
    described = lambda: admin().describe_consumer_groups([group])[group].result(15)
    assert described().members[0].group_instance_id == "one"
    member.close()
    assert len(described().members) == 1, "a static member left by closing"
    again = consumer(group, **options)
    again.subscribe([topic])
    while len(again.assignment()) != 2:
        assert time.time() < deadline
        again.poll(0.2)
    again.close()


def seeks_by_time():
    topic = fresh_topic()
    produce(topic, 3000, 3)
    reader = consumer("g-" + topic)
    found = reader.offsets_for_times([ck.TopicPartition(topic, i, START + 1500) for i in range(3)], 15)
    assert [p.offset for p in found] == [500] * 3, found
    reader.assign(found)
    assert sorted(read(reader, 1500)) == list(range(1500, 3000))
    assert reader.get_watermark_offsets(ck.TopicPartition(topic, 0), 10) == (0, 1000)
    reader.close()


def lists_offsets_and_deletes_records():
    topic = fresh_topic(1)
    produce(topic, 100, 1)
    partition = ck.TopicPartition(topic, 0)
    at = lambda spec: admin().list_offsets({partition: spec})[partition].result(15).offset
    assert (at(OffsetSpec.earliest()), at(OffsetSpec.latest()), at(OffsetSpec.max_timestamp())) == (0, 100, 99)
    deleted = admin().delete_records([ck.TopicPartition(topic, 0, 40)])
    for future in deleted.values():
        assert future.result(15).low_watermark == 40
    assert at(OffsetSpec.earliest()) == 40


def lists_describes_and_deletes_groups():
    topic, group = fresh_topic(1), "g-" + uuid.uuid4().hex[:8]
    produce(topic, 5, 1)
    member = consumer(group)
    member.subscribe([topic])
    read(member, 5)
    member.commit(asynchronous=False)
    described = admin().describe_consumer_groups([group])[group].result(15)
    assert described.state.name == "STABLE" and len(described.members) == 1, described.state
    member.close()
    assert group in [listed.group_id for listed in admin().list_consumer_groups().result(15).valid]
    request = ck.ConsumerGroupTopicPartitions(group)
    assert admin().list_consumer_group_offsets([request])[group].result(15).topic_partitions[0].offset == 5
    admin().delete_consumer_groups([group])[group].result(15)
    assert group not in [listed.group_id for listed in admin().list_consumer_groups().result(15).valid]


def shows_every_property_of_the_broker():
    resource = ConfigResource(ResourceType.BROKER, "0")
    shown = admin().describe_configs([resource])[resource].result(15)
    assert len(shown) == 340, len(shown)  # Kafka 4.3.1 shows as many.
    assert shown["node.id"].value == "0" and shown["listeners"].value.startswith("PLAINTEXT://"), shown["listeners"]


def compacts_a_topic_and_keeps_the_newest_of_each_key():
    topic = fresh_topic(1, {"cleanup.policy": "compact", "segment.ms": "300", "min.cleanable.dirty.ratio": "0.01"})
    for i in range(4):
        produce(topic, 21, 1, **{"compression.type": ["none", "gzip", "lz4", "zstd"][i]})
        time.sleep(0.5)
    produce(topic, 1, 1)  # Seals what was before.
    reader, deadline, found = consumer(uuid.uuid4().hex), time.time() + 30, []
    while len(found) > 15 or not found:
        assert time.time() < deadline, f"{len(found)} records are left"
        time.sleep(1)
        reader.assign([ck.TopicPartition(topic, 0, 0)])
        found = []
        while not found or found[-1].offset() < 84:
            found += [message for message in reader.consume(100, 2) if not message.error()]
    newest = {message.key(): int(message.value()) for message in found if message.offset() < 84}
    assert newest == {str(key).encode(): 14 + key for key in range(7)}, newest
    producer = ck.Producer(SERVERS)
    errors = []
    producer.produce(topic, "no key", on_delivery=lambda error, message: errors.append(error))
    assert producer.flush(10) == 0 and errors[0].code() == ck.KafkaError.INVALID_RECORD, errors


def reads_what_the_broker_compressed_and_stamped():
    for codec in ["uncompressed", "gzip", "snappy", "lz4", "zstd"]:
        topic = fresh_topic(1, {"compression.type": codec, "message.timestamp.type": "LogAppendTime"})
        before = int(time.time() * 1000)
        produce(topic, 500, 1, **{"compression.type": "gzip", "linger.ms": 100})
        reader = consumer(uuid.uuid4().hex)
        reader.assign([ck.TopicPartition(topic, 0, 0)])
        messages, deadline = [], time.time() + 20
        while len(messages) < 500 and time.time() < deadline:
            messages += reader.consume(500, 1)
        assert [int(message.value()) for message in messages] == list(range(500)), codec
        kinds = {message.timestamp()[0] for message in messages}
        assert kinds == {ck.TIMESTAMP_LOG_APPEND_TIME} and messages[0].timestamp()[1] >= before, (codec, kinds)


CHECKS = [check for name, check in list(globals().items()) if callable(check) and getattr(check, "__module__", "") == "__main__"]
CHECKS = [c for c in CHECKS if c.__name__ not in {"admin", "fresh_topic", "produce", "consumer", "read"}]

if __name__ == "__main__":
    if sys.argv[1] == "names":
        print("\n".join(check.__name__ for check in CHECKS))
    else:
        next(check for check in CHECKS if check.__name__ == sys.argv[1])()
