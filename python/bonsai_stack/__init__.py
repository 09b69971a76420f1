"""A Bonsai stack for the length of a test: services on free ports with a temporary directory."""

import json
import os
import shlex
import shutil
import subprocess
import tempfile

__all__ = ["Stack", "StackError"]

HEALTHY_SECONDS_MAX = 90
DRAIN_SECONDS_MAX = 60


class StackError(RuntimeError):
    """The stack did not start, or is not healthy; the message has the launcher's own words."""


class Stack:
    """A running stack. Ends with `stop`, at the end of a `with` block, or with this process."""

    def __init__(self, only=None, settings=None, coordinators=None, datanodes=None, program=None):
        self._program = program or os.environ.get("BONSAI_BIN") or shutil.which("bonsai")
        if not self._program:
            raise StackError("the program 'bonsai' is not found: put it on the PATH, or set BONSAI_BIN")
        self._scratch = tempfile.mkdtemp(prefix="bonsai-python-")
        self.directory = os.path.join(self._scratch, "stack")
        self._output = os.path.join(self._scratch, "up.log")
        command = [self._program, "up", "--any-port", "--until-eof", "--data", self.directory]
        if only:
            command += ["--only", ",".join(only)]
        for name, value in (settings or {}).items():
            command += ["--set", f"{name}={value}"]
        if coordinators is not None:
            command += ["--coordinators", str(coordinators)]
        if datanodes is not None:
            command += ["--datanodes", str(datanodes)]
        # The variables of another stack would be obeyed by this one.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BONSAI_")}
        self._child_environment = environment
        with open(self._output, "wb") as output:
            # The services end when this pipe is closed: at `stop`, or when this process dies.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=self._scratch, env=environment,
                start_new_session=True,
            )
        try:
            self._wait()
            self.environment = self._variables()
        except BaseException:
            self.stop()
            raise

    def _call(self, *words):
        return subprocess.run(
            [self._program, *words, "--data", self.directory],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=self._scratch, env=self._child_environment,
        )

    def _wait(self):
        # The launcher ends early if a service does not start; `status --wait` would not see that.
        waited = 0
        while True:
            if self._process.poll() is not None:
                with open(self._output, encoding="utf-8", errors="replace") as output:
                    raise StackError(output.read().strip())
            status = self._call("status", "--wait", "1s", "--json")
            if status.returncode == 0:
                return
            waited += 1
            if waited >= HEALTHY_SECONDS_MAX:
                raise StackError(f"not healthy within {waited} s: {status.stdout}{status.stderr}")

    def _variables(self):
        env = self._call("env")
        if env.returncode != 0:
            raise StackError(env.stderr.strip())
        variables = {}
        for line in env.stdout.splitlines():
            for word in shlex.split(line)[1:]:
                name, _, value = word.partition("=")
                variables[name] = value
        return variables

    @property
    def brokers(self):
        """HOST:PORT of the brokers, as Kafka's clients take it."""
        return self.environment.get("BOOTSTRAP_SERVERS")

    @property
    def coordinators(self):
        """HOST:PORT of the coordinators, as etcd's clients take it."""
        return self.environment.get("ETCDCTL_ENDPOINTS")

    @property
    def hdfs_url(self):
        return self.environment.get("HDFS_URL")

    @property
    def webhdfs_url(self):
        return self.environment.get("WEBHDFS_URL")

    @property
    def sql_gateway_url(self):
        return self.environment.get("SQL_GATEWAY_URL")

    @property
    def flight_sql_uri(self):
        return self.environment.get("FLIGHT_SQL_URI")

    def status(self):
        """What `bonsai status --json` says: a list, one dictionary a service."""
        return json.loads(self._call("status", "--json").stdout)

    def stop(self):
        """Ends the services and deletes their data. A second time does nothing."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(DRAIN_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.stop()
