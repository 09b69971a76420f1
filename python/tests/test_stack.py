"""The package against the real program: needs `bonsai` on the PATH or in BONSAI_BIN."""

import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from bonsai_stack import Stack, StackError


@pytest.fixture(scope="session")
def bonsai_stack_options():
    return {"only": ["log-broker", "dfs"], "settings": {"log-broker.num.partitions": 3}}


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_fixture_is_a_healthy_stack_on_free_ports(bonsai_stack):
    assert {row["service"] for row in bonsai_stack.status()} == {"log-broker", "namenode", "datanode"}
    assert all(row["healthy"] for row in bonsai_stack.status())
    assert bonsai_stack.brokers.startswith("127.0.0.1:")
    assert bonsai_stack.flight_sql_uri is None
    url = f"{bonsai_stack.webhdfs_url}/made?op=MKDIRS&user.name=root"
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT")) as answer:
        assert b'"boolean":true' in answer.read()


def test_two_stacks_do_not_see_each_other_and_stop_at_the_end(bonsai_stack):
    with Stack(only=["log-broker"]) as other:
        assert other.brokers != bonsai_stack.brokers
        pids = [row["pid"] for row in other.status()]
        directory = other.directory
    assert not any(map(is_alive, pids))
    assert not os.path.exists(directory)


def test_a_stack_that_cannot_start_says_why():
    with pytest.raises(StackError, match="there is no service kafka"):
        Stack(only=["kafka"])


def test_a_killed_process_takes_its_stack_along():
    program = (
        "from bonsai_stack import Stack; import time\n"
        "stack = Stack(only=['log-broker'])\n"
        "print(stack.status()[0]['pid'], flush=True); time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    pid = int(child.stdout.readline())
    assert is_alive(pid)
    child.send_signal(signal.SIGKILL)
    child.wait()
    deadline = time.monotonic() + 60
    while is_alive(pid):
        assert time.monotonic() < deadline, "the service outlived the process"
        time.sleep(0.05)
