//! WebHDFS against the real processes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use testing::eventually;

use crate::cluster::{Cluster, client, superuser, write_and_vanish};

/// Sends a request, as the superuser where it names no one else, and returns the status and the body.
fn http(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    let user = match path.contains("user.name=") {
        true => String::new(),
        false => format!("&user.name={}", superuser()),
    };
    let head = format!(
        "{method} /webhdfs/v1{path}{user} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    (status, answer[end + 4..].to_vec())
}

fn text(answer: &(u16, Vec<u8>)) -> String {
    format!("{} {}", answer.0, String::from_utf8_lossy(&answer.1))
}

fn name_node(cluster: &Cluster, method: &str, path: &str) -> (u16, Vec<u8>) {
    http(cluster.name_node.address("http"), method, path, &[])
}

/// Through the first data node.
fn data_node(cluster: &mut Cluster, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    http(cluster.data_node(0).address("http"), method, path, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_flushed_into_an_open_file_can_be_read() {
    let mut cluster = Cluster::start(1);
    let data: Vec<u8> = (0..1_000_001u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let writer = write_and_vanish(&mut client(&cluster, 1), 1, &data).await;
    tokio::task::block_in_place(|| {
        let (status, read) = data_node(&mut cluster, "GET", "/x?op=OPEN", &[]);
        assert!(status == 200 && read == data, "{status}, {} bytes", read.len());
        let (_, read) = data_node(&mut cluster, "GET", "/x?op=OPEN&offset=900000", &[]);
        assert!(read == data[900_000..]);
        let beyond = data_node(&mut cluster, "GET", "/x?op=OPEN&offset=1000001", &[]);
        assert!(text(&beyond).contains("403") && text(&beyond).contains("out of the range [0, 1000001)"));
    });
    drop(writer);
}

#[test]
fn what_cannot_be_read_is_an_error_and_no_empty_answer() {
    let mut cluster = Cluster::start_with(1, &["dfs.replication=1"]);
    let created = data_node(&mut cluster, "PUT", "/x?op=CREATE", &[7; 1000]);
    assert_eq!(created.0, 201, "{}", text(&created));
    cluster.kill_data_node(0);
    cluster.start_data_node(1);
    eventually("the loss is noticed", || {
        cluster.metric("dfs_namenode_missing_blocks") == 1
    });
    for operation in ["OPEN", "GETFILECHECKSUM"] {
        let answer = name_node(&cluster, "GET", &format!("/x?op={operation}"));
        assert!(
            text(&answer).contains("No active nodes contain this block"),
            "{}",
            text(&answer)
        );
    }
    let direct = http(cluster.data_node(1).address("http"), "GET", "/x?op=OPEN", &[]);
    assert!(
        direct.0 == 403 && text(&direct).contains("Could not obtain block"),
        "{}",
        text(&direct)
    );
    let absent = name_node(&cluster, "POST", "/absent?op=APPEND");
    assert!(
        absent.0 == 404 && text(&absent).contains("File /absent not found."),
        "{}",
        text(&absent)
    );
}

#[test]
fn one_user_acts_for_another_if_that_is_allowed() {
    let mut cluster = Cluster::start_with(
        1,
        &[
            "dfs.replication=1",
            "hadoop.user.group.static.mapping.overrides=boss=supergroup;alice=staff;bob=",
            "hadoop.proxyuser.gate.hosts=127.0.0.1",
            "hadoop.proxyuser.gate.groups=staff",
        ],
    );
    assert_eq!(name_node(&cluster, "PUT", "/?op=SETPERMISSION&permission=777").0, 200);
    for (real, effective, status) in [
        ("boss", "bob", 200),
        ("gate", "alice", 200),
        ("gate", "bob", 403),
        ("alice", "bob", 403),
        ("alice", "alice", 200),
    ] {
        let path = format!("/{real}-{effective}?op=MKDIRS&user.name={real}&doas={effective}");
        let answer = name_node(&cluster, "PUT", &path);
        assert_eq!(answer.0, status, "{path}: {}", text(&answer));
        let path = format!("/{real}-{effective}-file?op=CREATE&user.name={real}&doas={effective}");
        let answer = data_node(&mut cluster, "PUT", &path, b"x");
        assert_eq!(
            answer.0,
            if status == 200 { 201 } else { 403 },
            "{path}: {}",
            text(&answer)
        );
    }
    let listed = text(&name_node(&cluster, "GET", "/?op=LISTSTATUS"));
    assert_eq!(listed.matches(r#""owner":"bob""#).count(), 2, "{listed}");
    assert_eq!(listed.matches(r#""owner":"alice""#).count(), 4, "{listed}");
}

#[test]
fn a_failed_upload_leaves_no_open_file() {
    let mut cluster = Cluster::start(2);
    // The second data node of the pipeline is gone while the body comes.
    let mut stream = TcpStream::connect(cluster.data_node(0).address("http")).unwrap();
    write!(
        stream,
        "PUT /webhdfs/v1/x?op=CREATE&replication=2&user.name={} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n",
        superuser()
    )
    .unwrap();
    stream.write_all(&vec![1; 1_000_000]).unwrap();
    eventually("the file is being written", || {
        cluster.metric("dfs_namenode_open_files") == 1
    });
    eventually("its replicas are there", || cluster.replicas(1).len() == 1);
    cluster.kill_data_node(1);
    let _ = stream.write_all(&vec![1; 8_000_000]);
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403");
    eventually("the file is closed", || cluster.metric("dfs_namenode_open_files") == 0);
}

#[test]
fn reading_a_file_is_seen_in_its_access_time_once_in_a_while() {
    let mut cluster = Cluster::start_with(1, &["dfs.replication=1", "dfs.namenode.accesstime.precision=1"]);
    assert_eq!(data_node(&mut cluster, "PUT", "/x?op=CREATE", b"x").0, 201);
    let accessed = |cluster: &Cluster| {
        let status = text(&name_node(cluster, "GET", "/x?op=GETFILESTATUS"));
        status
            .split(r#""accessTime":"#)
            .nth(1)
            .unwrap()
            .split(',')
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let before = accessed(&cluster);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(data_node(&mut cluster, "GET", "/x?op=OPEN", &[]).1, b"x");
    // The reader does not wait for the record.
    eventually("the access is seen", || accessed(&cluster) > before);
    let after = accessed(&cluster);
    cluster.restart_name_node();
    assert_eq!(accessed(&cluster), after, "it is in the edit log");
}

#[test]
fn permissions_lists_and_attributes_are_those_of_hdfs() {
    let mut cluster = Cluster::start_with(
        1,
        &[
            "dfs.replication=1",
            "hadoop.user.group.static.mapping.overrides=alice=staff;bob=staff;carol=",
        ],
    );
    for path in [
        "/home?op=MKDIRS",
        "/home/alice?op=MKDIRS",
        "/home/alice?op=SETOWNER&owner=alice&group=staff",
    ] {
        assert_eq!(name_node(&cluster, "PUT", path).0, 200, "{path}");
    }
    let put = |cluster: &mut Cluster, path: &str| data_node(cluster, "PUT", path, b"mine").0;
    assert_eq!(put(&mut cluster, "/x?op=CREATE&user.name=alice"), 403);
    let file = "/home/alice/f?op=CREATE&permission=600&user.name=alice";
    assert_eq!(put(&mut cluster, file), 201);
    let reads = |cluster: &mut Cluster, user: &str| {
        let path = format!("/home/alice/f?op=OPEN&user.name={user}");
        data_node(cluster, "GET", &path, &[]).0
    };
    assert_eq!((reads(&mut cluster, "alice"), reads(&mut cluster, "bob")), (200, 403));
    let denied = text(&name_node(&cluster, "DELETE", "/home/alice/f?op=DELETE&user.name=bob"));
    assert!(
        denied.starts_with("403") && denied.contains("AccessControlException"),
        "{denied}"
    );
    assert!(
        denied.contains(r#"user=bob, access=WRITE, inode=\"/home/alice\":alice:staff:drwxr-xr-x"#),
        "{denied}"
    );

    let acl = "/home/alice/f?op=MODIFYACLENTRIES&aclspec=user:carol:r--,group::---&user.name=";
    assert_eq!(name_node(&cluster, "PUT", &format!("{acl}bob")).0, 403);
    assert_eq!(name_node(&cluster, "PUT", &format!("{acl}alice")).0, 200);
    let check = |cluster: &mut Cluster| {
        assert_eq!((reads(cluster, "carol"), reads(cluster, "bob")), (200, 403));
        let status = text(&name_node(cluster, "GET", "/home/alice/f?op=GETACLSTATUS"));
        assert!(
            status.contains(r#""entries":["user:carol:r--","group::---"]"#),
            "{status}"
        );
        let status = text(&name_node(cluster, "GET", "/home/alice/f?op=GETFILESTATUS"));
        assert!(
            status.contains(r#""aclBit":true"#) && status.contains(r#""permission":"640""#),
            "{status}"
        );
        let xattrs = "/home/alice/f?op=GETXATTRS&encoding=hex";
        let colour = text(&name_node(cluster, "GET", xattrs));
        assert!(
            colour.contains(r#"{"name":"user.colour","value":"0x626c7565"}"#),
            "{colour}"
        );
    };
    let set = "/home/alice/f?op=SETXATTR&xattr.name=user.colour&flag=CREATE&user.name=alice&xattr.value=";
    assert_eq!(name_node(&cluster, "PUT", &format!("{set}0x626c7565")).0, 200);
    assert_eq!(name_node(&cluster, "PUT", &format!("{set}0x00")).0, 403, "it is there");
    check(&mut cluster);
    // From the log, and then from an image.
    cluster.restart_name_node();
    eventually("the file is there again", || reads(&mut cluster, "alice") == 200);
    check(&mut cluster);

    let access = |action: &str| {
        let path = format!("/home/alice/f?op=CHECKACCESS&fsaction={action}&user.name=carol");
        name_node(&cluster, "GET", &path).0
    };
    assert_eq!((access("r--"), access("-w-")), (200, 403));
    let names = text(&name_node(&cluster, "GET", "/home/alice/f?op=LISTXATTRS"));
    assert!(names.contains(r#"{"XAttrNames":"[\"user.colour\"]"}"#), "{names}");
    let gone = "/home/alice/f?op=REMOVEXATTR&xattr.name=user.colour&user.name=alice";
    assert_eq!(name_node(&cluster, "PUT", gone).0, 200);
    assert_eq!(name_node(&cluster, "PUT", gone).0, 403);
    let bad = "/home/alice/f?op=SETACL&aclspec=user::rwx&user.name=alice";
    let bad = text(&name_node(&cluster, "PUT", bad));
    assert!(bad.contains("AclException"), "{bad}");
}
