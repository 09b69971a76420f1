//! Runs the stories of `tests/stories/namespace`. A command is a call at the time of the last `at`; its output is the result
//! or the error, and nothing where a call succeeds without a result.
//!
//! After every command the log is replayed from the start, and an image is written and read: both must give the same tree.

use std::fmt::Write;

use super::acl::{AclChange, AclEntry, AclKind, Scope};
use super::file::{Creation, NextBlock, Recovery};
use super::image::Header;
use super::truncate::Truncation;
use super::xattr::{Xattr, XattrFlags};
use super::*;

/// A namespace with its log.
struct World {
    names: Namespace,
    log: Vec<Edit>,
    now: u64,
    /// The wall clock, where it is another one.
    clock: u64,
    /// Who calls, in which groups; `root` is privileged.
    user: String,
    groups: Vec<String>,
}

impl World {
    fn new() -> Self {
        Self {
            names: fresh(),
            log: Vec::new(),
            now: 0,
            clock: 0,
            user: String::new(),
            groups: Vec::new(),
        }
    }
}

fn fresh() -> Namespace {
    Namespace::new("root", "supergroup", 0)
}

/// Everything that can be seen of a namespace.
fn dump(names: &Namespace) -> String {
    let mut text = String::new();
    let mut pending = vec![ROOT];
    while let Some(id) = pending.pop() {
        let inode = &names.inodes[&id];
        let path = names.path_of(id);
        let owner = format!("{}:{}", names.owner_of(inode), names.group_of(inode));
        let mut extra: String = inode
            .acl()
            .iter()
            .map(|entry| " ".to_owned() + &acl_text(entry))
            .collect();
        for xattr in inode.xattrs() {
            let _ = write!(extra, " {}={}", xattr.name, String::from_utf8_lossy(&xattr.value));
        }
        let mode = format!("{:o}{extra}", inode.permission);
        match &inode.kind {
            Kind::Directory(children) => {
                let path = if path.is_empty() { "/" } else { &path };
                let _ = writeln!(text, "{path} dir {owner} {mode} mtime={}", inode.modified);
                pending.extend(children.values().rev());
            }
            Kind::File(file) => {
                let blocks: Vec<String> = file
                    .blocks
                    .iter()
                    .map(|block| format!("{}@{}+{}", block.id - FIRST_BLOCK, block.generation_stamp, block.length))
                    .collect();
                let holder = file
                    .holder
                    .as_deref()
                    .map(|holder| format!(" held by {holder}"))
                    .unwrap_or_default();
                let open = match (file.last_open, names.truncation(id)) {
                    (true, Some(length)) => format!(" (to be cut to {length})"),
                    (true, None) => " (open)".to_owned(),
                    _ => String::new(),
                };
                let _ = writeln!(
                    text,
                    "{path} file {owner} {mode} mtime={} x{} [{}]{open}{holder}",
                    inode.modified,
                    file.replication,
                    blocks.join(" ")
                );
            }
        }
    }
    text
}

const CREATE_OR_REPLACE: XattrFlags = XattrFlags {
    create: true,
    replace: true,
};

/// `u:alice:7,g::5,d:o::0`; a digit is missing where entries are removed.
fn acl(spec: &str) -> Vec<AclEntry> {
    let entry = |text: &str| {
        let (scope, rest) = match text.strip_prefix("d:") {
            Some(rest) => (Scope::Default, rest),
            None => (Scope::Access, text),
        };
        let parts: Vec<&str> = rest.split(':').collect();
        AclEntry {
            scope,
            kind: match parts[0] {
                "u" => AclKind::User,
                "g" => AclKind::Group,
                "m" => AclKind::Mask,
                _ => AclKind::Other,
            },
            name: Some(parts[1]).filter(|name| !name.is_empty()).map(Into::into),
            permission: parts.get(2).map_or(0, |bits| bits.parse().unwrap()),
        }
    };
    spec.split(',').map(entry).collect()
}

fn acl_text(entry: &AclEntry) -> String {
    let default = if entry.scope == Scope::Default { "d:" } else { "" };
    let kind = ["u", "g", "m", "o"][entry.kind as usize];
    format!(
        "{default}{kind}:{}:{}",
        entry.name.as_deref().unwrap_or_default(),
        entry.permission
    )
}

fn xattr(name: &str, value: &str) -> Xattr {
    let (namespace, name) = name.split_once('.').unwrap();
    Xattr {
        namespace: ["user", "trusted", "security"]
            .iter()
            .position(|known| *known == namespace)
            .unwrap() as i32,
        name: name.into(),
        value: value.as_bytes().into(),
    }
}

impl testing::stories::World for World {
    fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["as", user, groups @ ..] = &words[..] {
            self.user = (*user).to_owned();
            self.groups = groups.iter().map(|group| (*group).to_owned()).collect();
            return String::new();
        }
        // Stories without users are alice's, who may do anything.
        let (user, groups) = (self.user.clone(), self.groups.clone());
        let caller = Caller {
            user: if user.is_empty() { "alice" } else { &user },
            groups: &groups,
            privileged: user.is_empty() || user == "root",
            now: self.now,
            time: self.clock,
        };
        let outcome = self.command(caller, &words);
        self.log.extend(self.names.take_edits());
        self.names.take_changes();
        self.check();
        match outcome {
            Ok(text) => text,
            Err(error) => {
                let class = error.java_class().rsplit('.').next().unwrap_or_default();
                format!("{class}: {error}\n")
            }
        }
    }
}

impl World {
    fn command(&mut self, caller: Caller, words: &[&str]) -> Result<String, Error> {
        let names = &mut self.names;
        let told = |truth: bool| format!("{truth}\n");
        match words {
            ["at", time] => {
                self.now = time.parse().unwrap();
                self.clock = self.now;
            }
            ["clock", time] => self.clock = time.parse().unwrap(),
            ["id", path] => return Ok(format!("{}\n", names.lookup(path)?.unwrap().id)),
            ["mkdir", path] => names.mkdirs(caller, path, 0o755, 0o777, false)?,
            ["mkdirs", path] => names.mkdirs(caller, path, 0o700, 0o777, true)?,
            ["delete", path] => return Ok(told(names.delete(caller, path, false)?)),
            ["delete", "-r", path] => return Ok(told(names.delete(caller, path, true)?)),
            ["mv", from, to] => return Ok(told(names.rename_into(caller, from, to)?)),
            ["rename", from, to] => names.rename(caller, from, to, false)?,
            ["rename", "-f", from, to] => names.rename(caller, from, to, true)?,
            ["create", path, "by", holder] => return Self::create(names, caller, path, holder, false),
            ["create", "-f", path, "by", holder] => return Self::create(names, caller, path, holder, true),
            ["append", path, "by", holder] => {
                let (_, block) = names.append(caller, path, holder, false)?;
                return Ok(format!("last block {:?}\n", block.map(|block| block.id - FIRST_BLOCK)));
            }
            ["add-block", path, "by", holder, rest @ ..] => return Self::add_block(names, caller, path, holder, rest),
            ["complete", path, "by", holder, length] => {
                let (id, file) = names.held(path, 0, holder)?;
                if let Some(open) = file.open_block() {
                    let block = Block {
                        length: length.parse().unwrap(),
                        ..open
                    };
                    names.update_last_block(caller, id, block, true)?;
                }
                names.close(caller, id)?;
            }
            ["abandon", path, "by", holder, block] => {
                let (id, _) = names.held(path, 0, holder)?;
                names.abandon_block(caller, id, FIRST_BLOCK + block.parse::<u64>().unwrap())?;
            }
            ["recover", path, "replicas", any] => {
                let id = names.file(path)?.0.id;
                return Ok(match names.recover_lease(caller, id, *any == "yes")? {
                    Recovery::Closed => "closed\n".to_owned(),
                    Recovery::Block {
                        block,
                        new_stamp,
                        truncating: true,
                        ..
                    } => format!(
                        "cut block {} to {} under stamp {new_stamp}\n",
                        block.id - FIRST_BLOCK,
                        block.length
                    ),
                    Recovery::Block { block, new_stamp, .. } => {
                        format!("recover block {} under stamp {new_stamp}\n", block.id - FIRST_BLOCK)
                    }
                });
            }
            ["recovered", path, stamp, length] => {
                let (id, file) = names.held(path, 0, RECOVERY_HOLDER)?;
                let block = Block {
                    generation_stamp: stamp.parse().unwrap(),
                    length: length.parse().unwrap(),
                    ..file.open_block().unwrap()
                };
                names.finish_recovery(caller, id, block)?;
            }
            ["truncate", path, length, "by", holder] => {
                let length = length.parse::<i64>().unwrap() as u64;
                return Ok(match names.truncate(caller, path, length, holder)? {
                    Truncation::Done => "done\n".to_owned(),
                    Truncation::Started(_) => "started\n".to_owned(),
                    Truncation::UnderWay(_) => "under way\n".to_owned(),
                });
            }
            ["concat", target, sources @ ..] => {
                let sources: Vec<String> = sources.iter().map(|source| (*source).to_owned()).collect();
                names.concat(caller, target, &sources)?;
            }
            ["taken-over", path, "by", holder] => return Ok(told(names.can_be_taken_over(path, holder, self.now))),
            ["renew", holder] => names.renew_lease(holder, self.now),
            ["chmod", mode, path] => names.set_permission(caller, path, u16::from_str_radix(mode, 8).unwrap())?,
            ["chown", owner, path] => names.set_owner(caller, path, Some((*owner).to_owned()), None)?,
            ["setrep", count, path] => {
                return Ok(told(names.set_replication(caller, path, count.parse().unwrap())?));
            }
            ["setfacl", "-m", spec, path] => names.change_acl(caller, path, AclChange::Modify(&acl(spec)))?,
            ["setfacl", "-x", spec, path] => names.change_acl(caller, path, AclChange::RemoveEntries(&acl(spec)))?,
            ["setfacl", "-b", path] => names.change_acl(caller, path, AclChange::Remove)?,
            ["setfacl", "-k", path] => names.change_acl(caller, path, AclChange::RemoveDefault)?,
            ["setfacl", "--set", spec, path] => names.change_acl(caller, path, AclChange::Replace(&acl(spec)))?,
            ["getfacl", path] => {
                let inode = names.lookup(path)?.unwrap();
                let entries = inode.acl().iter().map(acl_text).collect::<Vec<_>>();
                return Ok(format!("{:o} {}\n", inode.permission, entries.join(" ")));
            }
            ["setfattr", "-n", name, value, path] => {
                names.set_xattr(caller, path, xattr(name, value), CREATE_OR_REPLACE)?
            }
            ["setfattr", "-x", name, path] => {
                let gone = xattr(name, "");
                names.remove_xattr(caller, path, gone.namespace, &gone.name)?;
            }
            ["getfattr", path] => {
                let xattrs = names.xattrs(caller, path, true)?;
                let text = |xattr: &Xattr| {
                    format!(
                        "{}:{}={}",
                        xattr.namespace,
                        xattr.name,
                        String::from_utf8_lossy(&xattr.value)
                    )
                };
                return Ok(format!("{}\n", xattrs.iter().map(text).collect::<Vec<_>>().join(" ")));
            }
            ["may", needs, path] => {
                let bits = needs.parse().unwrap();
                names.check(caller, path, permission::Needs::itself(bits))?;
            }
            ["summary-as", path] => names.check(caller, path, permission::Needs::below(5))?,
            ["list", path, after, limit] => return Self::list(names, path, after, limit.parse().unwrap()),
            ["summary", path] => return Ok(format!("{:?}\n", names.summary(path)?)),
            ["tree"] => return Ok(dump(names)),
            _ => panic!("no such command: {words:?}"),
        }
        Ok(String::new())
    }

    fn create(
        names: &mut Namespace,
        caller: Caller,
        path: &str,
        holder: &str,
        overwrite: bool,
    ) -> Result<String, Error> {
        let asked = Creation {
            path,
            permission: 0o644,
            unmasked: 0o666,
            holder,
            create: true,
            overwrite,
            create_parent: true,
            replication: 3,
            block_size: 100,
        };
        names.create(caller, asked).map(|_| String::new())
    }

    /// `… previous BLOCK LENGTH` names the block before.
    fn add_block(
        names: &mut Namespace,
        caller: Caller,
        path: &str,
        holder: &str,
        previous: &[&str],
    ) -> Result<String, Error> {
        let (id, file) = names.held(path, 0, holder)?;
        let stamp = file.blocks.last().map_or(0, |block| block.generation_stamp);
        let previous = match previous {
            ["previous", block, length] => Some((
                FIRST_BLOCK + block.parse::<u64>().unwrap(),
                stamp,
                length.parse().unwrap(),
            )),
            _ => None,
        };
        Ok(match names.next_block(file, previous)? {
            NextBlock::Repeated(block) => format!("block {} again\n", block.id - FIRST_BLOCK),
            NextBlock::Add { previous } => {
                if let Some(previous) = previous {
                    names.update_last_block(caller, id, previous, true)?;
                }
                format!("block {}\n", names.add_block(caller, id)?.id - FIRST_BLOCK)
            }
        })
    }

    fn list(names: &Namespace, path: &str, after: &str, limit: usize) -> Result<String, Error> {
        let after = if after == "-" { "" } else { after };
        Ok(match names.list(path, after.as_bytes(), limit)? {
            None => "nothing there\n".to_owned(),
            Some((page, remaining)) => {
                let page: Vec<&str> = page.iter().map(|inode| &*inode.name).collect();
                format!("{} and {remaining} more\n", page.join(" "))
            }
        })
    }

    /// The log alone gives the same tree, and so does an image.
    fn check(&mut self) {
        let mut replayed = fresh();
        for edit in &self.log {
            replayed.apply(edit, 0).unwrap();
        }
        assert_eq!(dump(&replayed), dump(&self.names));
        let (loaded, _, _) = Namespace::from_image(&self.names.to_image(Header::default()), 0).unwrap();
        assert_eq!(dump(&loaded), dump(&self.names));
        assert_eq!(
            (
                loaded.next_inode,
                loaded.next_block,
                loaded.generation_stamp,
                loaded.files
            ),
            (
                self.names.next_inode,
                self.names.next_block,
                self.names.generation_stamp,
                self.names.files
            )
        );
        assert_eq!(loaded.leases.open_files(), self.names.leases.open_files());
        assert_eq!(loaded.truncations, self.names.truncations);
    }
}

fn world() -> World {
    World::new()
}

#[test]
fn stories() {
    testing::stories::run("tests/stories/namespace", 7, world);
}

#[test]
fn a_damaged_image_is_refused() {
    let bytes = fresh().to_image(Header::default());
    assert!(Namespace::from_image(&bytes, 0).is_ok());
    for index in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[index] ^= 0x10;
        assert!(Namespace::from_image(&damaged, 0).is_err(), "byte {index}");
        assert!(Namespace::from_image(&bytes[..index], 0).is_err(), "cut at {index}");
    }
}

mod random {
    use proptest::prelude::*;
    use testing::stories::World as _;

    use super::*;

    /// Random walks: whatever is asked for, log, image and memory agree, and every inode has its place.
    fn command() -> impl Strategy<Value = String> {
        let path = "/[ab](/[ab](/[ab])?)?";
        let holder = "[xy]";
        prop_oneof![
            path.prop_map(|path| format!("mkdirs {path}")),
            path.prop_map(|path| format!("delete -r {path}")),
            path.prop_map(|path| format!("delete {path}")),
            (path, path).prop_map(|(from, to)| format!("mv {from} {to}")),
            (path, path).prop_map(|(from, to)| format!("rename {from} {to}")),
            (path, path).prop_map(|(from, to)| format!("rename -f {from} {to}")),
            (path, holder).prop_map(|(path, holder)| format!("create {path} by {holder}")),
            (path, holder).prop_map(|(path, holder)| format!("create -f {path} by {holder}")),
            (path, holder).prop_map(|(path, holder)| format!("append {path} by {holder}")),
            (path, holder).prop_map(|(path, holder)| format!("add-block {path} by {holder}")),
            (path, holder, 0u64..100).prop_map(|(path, holder, n)| format!("complete {path} by {holder} {n}")),
            path.prop_map(|path| format!("recover {path} replicas no")),
            path.prop_map(|path| format!("setrep 2 {path}")),
            path.prop_map(|path| format!("setfacl -m u:bob:6,d:g:staff:5 {path}")),
            path.prop_map(|path| format!("setfacl -m g:staff:1 {path}")),
            path.prop_map(|path| format!("setfacl -b {path}")),
            (path, "[pq]").prop_map(|(path, name)| format!("setfattr -n user.{name} v {path}")),
            (path, "[pq]").prop_map(|(path, name)| format!("setfattr -x user.{name} {path}")),
            (path, 0u64..200).prop_map(|(path, n)| format!("truncate {path} {n} by x")),
            (path, path, path).prop_map(|(target, a, b)| format!("concat {target} {a} {b}")),
            (path, path).prop_map(|(target, a)| format!("concat {target} {a}")),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// However much changes while it is written: an image is that of the moment at which it began.
        #[test]
        fn an_image_is_that_of_its_beginning(
            before in proptest::collection::vec(command(), 1..30),
            meanwhile in proptest::collection::vec((command(), 0_usize..3), 0..30),
        ) {
            let mut world = world();
            for command in before {
                world.run(&command);
            }
            let (tree, held) = (dump(&world.names), world.names.leases.open_files());
            let (next, truncations) = (world.names.next_inode, world.names.truncations.clone());
            let mut image = world.names.begin_image(Header::default());
            for (command, inodes) in meanwhile {
                let words: Vec<&str> = command.split_whitespace().collect();
                let caller = Caller { user: "bob", groups: &[], privileged: true, now: 9, time: 9 };
                let _ = world.command(caller, &words);
                world.names.image_part(inodes, &mut image);
            }
            while world.names.image_part(2, &mut image) {}
            world.names.end_image();
            image.extend(crc32c::crc32c(&image).to_be_bytes());
            let (loaded, _, _) = Namespace::from_image(&image, 0).unwrap();
            prop_assert_eq!(dump(&loaded), tree);
            prop_assert_eq!((loaded.leases.open_files(), loaded.next_inode), (held, next));
            prop_assert_eq!(&loaded.truncations, &truncations);
        }

        /// What an operation would do is found out without doing it: it is refused alike, or changes something.
        #[test]
        fn a_probe_foretells_and_changes_nothing(
            before in proptest::collection::vec(command(), 1..30),
            then in command(),
        ) {
            let mut world = world();
            for command in before {
                world.run(&command);
            }
            let words: Vec<&str> = then.split_whitespace().collect();
            let caller = Caller { user: "bob", groups: &[], privileged: true, now: 9, time: 9 };
            let tree = dump(&world.names);
            world.names.begin_probe();
            let probed = world.command(caller, &words);
            let changes = world.names.end_probe();
            prop_assert_eq!(dump(&world.names), tree.clone());
            prop_assert!(world.names.take_edits().is_empty() && world.names.take_changes().is_empty());
            let done = world.command(caller, &words);
            prop_assert_eq!(changes, !world.names.take_edits().is_empty(), "{}", then);
            if !changes {
                prop_assert_eq!(probed, done);
            }
        }

        #[test]
        fn log_image_and_memory_agree(commands in proptest::collection::vec(command(), 1..40)) {
            let mut world = world();
            for command in commands {
                world.now += 1;
                world.run(&command);
            }
            let names = &world.names;
            for (id, inode) in &names.inodes {
                if *id != ROOT {
                    let Kind::Directory(children) = &names.inodes[&inode.parent].kind else { panic!("no directory") };
                    prop_assert_eq!(children.get(&inode.name), Some(id));
                }
                if let Some(file) = inode.as_file() {
                    prop_assert_eq!(file.last_open && file.holder.is_none(), false);
                    let held = file.holder.as_ref().map(|holder| names.leases.files(holder).contains(id));
                    prop_assert_ne!(held, Some(false));
                }
            }
        }
    }
}
