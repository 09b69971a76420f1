"""Isolation over kill -9: `transactions_killed.py "PROGRAM…" DATA LISTEN CYCLES [SECONDS]`.

Transactional producers commit and abort over several partitions while the broker is killed again and again. Afterwards a
consumer of committed records must see each committed transaction whole and once, no aborted one, and each one of unknown
outcome wholly or not at all; nothing else.
"""
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter

PROGRAM, DATA, LISTEN, CYCLES = sys.argv[1].split(), sys.argv[2], sys.argv[3], int(sys.argv[4])
SECONDS = float(sys.argv[5]) if len(sys.argv) > 5 else 2.0
os.environ["BOOTSTRAP"] = LISTEN

from confluent_kafka import KafkaException, Producer  # noqa: E402

PARTITIONS, WRITERS, RECORDS = 3, 3, 12


def start():
    broker = subprocess.Popen(
        [*PROGRAM, "--data", DATA, "--listen", LISTEN, "--admin", "127.0.0.1:0", "--log-level", "warn",
         "--set", "transaction.abort.timed.out.transaction.cleanup.interval.ms=200"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert b"ready" in broker.stdout.readline()
    return broker


class Writer(threading.Thread):
    """Transactions one after the other; what became of each is in `outcomes`."""

    def __init__(self, name, topic, stop):
        super().__init__(daemon=True)
        self.name, self.topic, self.stop, self.outcomes = name, topic, stop, {}
        self.number = 0

    def producer(self):
        while True:
            made = Producer({"bootstrap.servers": LISTEN, "transactional.id": self.name, "linger.ms": 1,
                             "transaction.timeout.ms": 20000, "reconnect.backoff.max.ms": 200})
            try:
                made.init_transactions(30)
                return made
            except KafkaException as error:
                assert error.args[0].retriable() or not error.args[0].fatal(), error

    def end(self, producer, is_commit):
        """Ends the transaction; `None` where the producer is of no more use, and the outcome unknown."""
        while True:
            try:
                (producer.commit_transaction if is_commit else producer.abort_transaction)(30)
                return is_commit
            except KafkaException as error:
                error = error.args[0]
                if error.retriable():
                    continue
                if error.txn_requires_abort() and is_commit:
                    # Librdkafka says so only where the commit has certainly not been.
                    is_commit = False
                    continue
                return None

    def run(self):
        producer = self.producer()
        chance = random.Random(self.name)
        while not self.stop.is_set():
            self.number += 1
            name = f"{self.name}/{self.number}"
            self.outcomes[name] = None
            try:
                producer.begin_transaction()
                for i in range(RECORDS):
                    producer.produce(self.topic, f"{name}/{i}", partition=i % PARTITIONS)
            except KafkaException:
                producer = self.producer()
                continue
            self.outcomes[name] = self.end(producer, chance.random() < 0.7)
            if self.outcomes[name] is None:
                producer = self.producer()


def main():
    broker = start()
    import transactions

    name, stop = transactions.topic(PARTITIONS), threading.Event()
    writers = [Writer(f"w{i}", name, stop) for i in range(WRITERS)]
    for writer in writers:
        writer.start()
    for _ in range(CYCLES):
        time.sleep(SECONDS * random.uniform(0.5, 1.5))
        broker.kill()
        broker.wait()
        broker = start()
    time.sleep(1)
    stop.set()
    for writer in writers:
        writer.join(120)
        assert not writer.is_alive(), "a writer does not end"
    # Whatever a writer has left open is aborted by its successor.
    for writer in writers:
        writer.producer()
    seen = Counter(transactions.read(name, PARTITIONS, "read_committed"))
    broker.kill()
    broker.wait()
    outcomes = {name: outcome for writer in writers for name, outcome in writer.outcomes.items()}
    for value, count in seen.items():
        assert count == 1, f"{value} is read {count} times"
        assert value.rsplit("/", 1)[0] in outcomes, value
    whole = Counter(value.rsplit("/", 1)[0] for value in seen)
    for name, outcome in outcomes.items():
        allowed = {True: {RECORDS}, False: {0}, None: {0, RECORDS}}[outcome]
        assert whole[name] in allowed, f"{name}: {whole[name]} records where its outcome is {outcome}"
    print(Counter(outcomes.values()), f"{CYCLES} kills")


main()
