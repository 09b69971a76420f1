"""A file's life through PyPI's hdfs: webhdfs.py URL LOCAL-FILE. The directory /pypi is alice's."""
import getpass
import sys

from hdfs import HdfsError, InsecureClient

url, local = sys.argv[1:]
data = open(local, "rb").read()
client = InsecureClient(url, user="alice", root="/pypi")

client.makedirs("d")
client.upload("d/up", local)
assert client.status("d/up")["length"] == len(data)
with client.read("d/up") as reader:
    assert reader.read() == data
with client.read("d/up", offset=10, length=1000) as reader:
    assert reader.read() == data[10:1010]
with client.write("d/text", encoding="utf-8") as writer:
    writer.write("ä line\n")
client.write("d/text", "another\n", encoding="utf-8", append=True)
with client.read("d/text", encoding="utf-8", delimiter="\n") as reader:
    assert list(reader) == ["ä line", "another", ""]
try:
    client.write("d/text", "again")
    raise SystemExit("an existing file was overwritten")
except HdfsError as error:
    assert "already exists" in str(error), error
client.write("d/text", "again", overwrite=True)
assert client.list("d") == ["text", "up"]
assert client.content("d")["fileCount"] == 2
client.set_permission("d/text", "600")
client.set_times("d/text", modification_time=1356998400000)
try:
    client.set_owner("d/text", owner="bob")
    raise SystemExit("a file was given away")
except HdfsError as error:
    assert "not a super user" in str(error), error
# This account runs the name node.
InsecureClient(url, user=getpass.getuser(), root="/pypi").set_owner("d/text", owner="bob")
status = client.status("d/text")
assert (status["permission"], status["owner"], status["modificationTime"]) == ("600", "bob", 1356998400000), status
client.rename("d/text", "d/renamed")
assert client.status("d/text", strict=False) is None
assert [name for _, _, names in client.walk("") for name in names] == ["renamed", "up"]
assert client.delete("d", recursive=True)
assert not client.delete("d", recursive=True)
try:
    client.status("nothing")
    raise SystemExit("nothing is there")
except HdfsError as error:
    assert "does not exist" in str(error), error
