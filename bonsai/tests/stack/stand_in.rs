//! Stand-ins for other people's clients where they are not installed: as much of kcat, hdfs, etcdctl and curl as the pages
//! show, on our own clients. A script of that name runs this test program again, which finds the words in a variable.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hdfs_native::{ClientBuilder, WriteOptions};
use log_broker_client::{At, FetchOptions, ProducerOptions, Record};

const WORDS: &str = "STAND_IN_WORDS";
const SEPARATOR: &str = "\u{1f}";
const CLIENTS: [&str; 4] = ["kcat", "hdfs", "etcdctl", "curl"];

/// A directory for the PATH, with a stand-in for each client that is not installed.
pub fn directory(parent: &Path) -> PathBuf {
    let directory = parent.join("stand-ins");
    fs::create_dir(&directory).unwrap();
    let this = std::env::current_exe().unwrap();
    for client in CLIENTS.into_iter().filter(|client| !is_installed(client)) {
        let script = format!(
            "#!/bin/sh\n{WORDS}={client}\nfor word; do {WORDS}=\"${WORDS}{SEPARATOR}$word\"; done\nexport {WORDS}\n\
             exec '{}' --exact stand_in::stands_in --nocapture\n",
            this.display()
        );
        let path = directory.join(client);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        println!("{client} is not installed; a stand-in runs in its place");
    }
    directory
}

fn is_installed(client: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {client}")])
        .stdout(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

#[test]
fn stands_in() {
    let Ok(words) = std::env::var(WORDS) else { return };
    let words: Vec<&str> = words.split(SEPARATOR).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match words[0] {
            "kcat" => kcat(&words[1..]).await,
            "hdfs" => hdfs(&words[1..]).await,
            "etcdctl" => etcdctl(&words[1..]).await,
            "curl" => curl(words[words.len() - 1]),
            other => panic!("{other}"),
        }
    });
}

/// The value behind a flag.
fn value<'a>(words: &[&'a str], flag: &str) -> Option<&'a str> {
    let place = words.iter().position(|word| *word == flag)?;
    words.get(place + 1).copied()
}

async fn kcat(words: &[&str]) {
    let configured = || {
        let text = fs::read_to_string(std::env::var("KCAT_CONFIG").unwrap()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("bootstrap.servers="));
        line.unwrap().to_owned()
    };
    let broker = value(words, "-b").map_or_else(configured, str::to_owned);
    let client = log_broker_client::Client::connect(&broker, "kcat").await.unwrap();
    if words.contains(&"-L") {
        return println!("{:?}", client.metadata(None).await.unwrap());
    }
    let topic = value(words, "-t").unwrap();
    if words.contains(&"-P") {
        let mut text = String::new();
        match value(words, "-l") {
            Some(file) => text = fs::read_to_string(file).unwrap(),
            None => {
                std::io::stdin().read_to_string(&mut text).unwrap();
            }
        }
        let delimiter = value(words, "-K");
        let record = |line: &str| match delimiter.and_then(|delimiter| line.split_once(delimiter)) {
            Some((key, value)) => Record {
                key: Some(key.to_owned().into()),
                value: Some(value.to_owned().into()),
                ..Record::default()
            },
            None => Record {
                value: Some(line.to_owned().into()),
                ..Record::default()
            },
        };
        let records: Vec<Record> = text.lines().map(record).collect();
        let producer = client.producer(ProducerOptions::default()).await.unwrap();
        for batch in records.chunks(1_000) {
            producer.send(topic, 0, batch.to_vec()).await.unwrap();
        }
        return;
    }
    assert!(words.contains(&"-C"), "{words:?}");
    let most = value(words, "-c").map_or(u64::MAX, |count| count.parse().unwrap());
    let end = client.offset(topic, 0, At::Latest).await.unwrap();
    let (mut offset, mut shown) = (0, 0);
    while offset < end && shown < most {
        let fetched = client.fetch(topic, 0, offset, &FetchOptions::default()).await.unwrap();
        for record in fetched
            .records
            .iter()
            .take(usize::try_from(most - shown).unwrap_or(usize::MAX))
        {
            println!("{}", String::from_utf8_lossy(record.value.as_ref().unwrap()));
            shown += 1;
        }
        offset = fetched.next_offset;
    }
}

async fn hdfs(words: &[&str]) {
    assert_eq!(words[0], "dfs", "{words:?}");
    let conf = PathBuf::from(std::env::var("HADOOP_CONF_DIR").unwrap());
    let site = fs::read_to_string(conf.join("core-site.xml")).unwrap();
    let url = site.split("<value>").nth(1).unwrap().split("</value>").next().unwrap();
    let client = ClientBuilder::new()
        .with_url(url)
        .with_config(HashMap::<String, String>::new())
        .build()
        .unwrap();
    let arguments: Vec<&str> = words[2..]
        .iter()
        .copied()
        .filter(|word| !word.starts_with('-'))
        .collect();
    match words[1] {
        "-mkdir" => client.mkdirs(arguments[0], 0o755, true).await.unwrap(),
        "-put" => {
            let (to, from) = arguments.split_last().unwrap();
            for from in from {
                let name = Path::new(from).file_name().unwrap().to_str().unwrap();
                let path = if to.ends_with('/') {
                    format!("{to}{name}")
                } else {
                    (*to).to_owned()
                };
                let options = WriteOptions::default().overwrite(words.contains(&"-f"));
                let mut file = client.create(&path, options).await.unwrap();
                file.write(fs::read(from).unwrap().into()).await.unwrap();
                file.close().await.unwrap();
            }
        }
        "-cat" => {
            let mut file = client.read(arguments[0]).await.unwrap();
            let len = file.file_length();
            println!("{}", String::from_utf8_lossy(&file.read(len).await.unwrap()));
        }
        "-ls" => {
            for status in client.list_status(arguments[0], false).await.unwrap() {
                println!("{}", status.path);
            }
        }
        other => panic!("{other}"),
    }
}

async fn etcdctl(words: &[&str]) {
    let endpoints = std::env::var("ETCDCTL_ENDPOINTS").unwrap();
    let client = coordinator_client::Client::connect(&endpoints).await.unwrap();
    let arguments: Vec<&str> = words[1..]
        .iter()
        .copied()
        .filter(|word| !word.starts_with('-'))
        .collect();
    match words[0] {
        "put" => {
            client
                .put(arguments[0].to_owned(), arguments[1].to_owned())
                .await
                .unwrap();
        }
        "get" => {
            let keys = if words.contains(&"--prefix") {
                coordinator_client::Keys::prefix(arguments[0].to_owned())
            } else {
                coordinator_client::Keys::one(arguments[0].to_owned())
            };
            let found = client.range(keys, Default::default()).await.unwrap();
            assert!(!found.kvs.is_empty(), "{words:?}");
            for pair in found.kvs {
                println!(
                    "{}\n{}",
                    String::from_utf8_lossy(&pair.key),
                    String::from_utf8_lossy(&pair.value)
                );
            }
        }
        other => panic!("{other}"),
    }
}

fn curl(url: &str) {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let answer = crate::harness::http(host, "GET", &format!("/{path}"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    println!("{}", answer.split_once("\r\n\r\n").unwrap().1);
}
