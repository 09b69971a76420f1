//! Members on sockets and disks in memory.

use super::*;

type Answer = oneshot::Sender<Result<Index, ProposalError>>;

/// A list of commands; its snapshot is the list.
struct List {
    commands: Arc<Mutex<Vec<Bytes>>>,
    applied: Arc<Mutex<Index>>,
    soft_state: Arc<Mutex<Option<SoftState>>>,
    failed: Arc<Mutex<Option<String>>>,
}

impl StateMachine for List {
    type Waiting = Answer;
    type Reader = Answer;

    fn apply(&mut self, entries: Vec<Committed<Answer>>) {
        for entry in entries {
            let mut applied = self.applied.lock().unwrap();
            assert_eq!(entry.index, *applied + 1, "each entry once, in order");
            *applied = entry.index;
            drop(applied);
            if let Payload::Command(command) = entry.payload {
                self.commands.lock().unwrap().push(command);
            }
            if let Some(waiting) = entry.waiting {
                let _gone = waiting.send(Ok(entry.index));
            }
        }
    }

    fn refuse(&mut self, waiting: Answer, why: ProposalError) {
        let _gone = waiting.send(Err(why));
    }

    fn read(&mut self, readers: Vec<Answer>, from: Index) {
        for reader in readers {
            let _gone = reader.send(Ok(from));
        }
    }

    fn refuse_reads(&mut self, readers: Vec<Answer>, why: ProposalError) {
        for reader in readers {
            let _gone = reader.send(Err(why.clone()));
        }
    }

    fn soft_state(&mut self, soft_state: SoftState) {
        *self.soft_state.lock().unwrap() = Some(soft_state);
    }

    fn membership(&mut self, _membership: &Membership) {}

    fn install(&mut self, _snapshot: &Snapshot) -> io::Result<()> {
        Err(io::Error::other("this test sends no snapshots"))
    }

    fn send_snapshot(&mut self, _message: Message) {}

    fn fail(&mut self, reason: String) {
        *self.failed.lock().unwrap() = Some(reason);
    }
}

#[derive(Debug)]
struct Door {
    orders: Mutex<Option<Arc<Node<Answer, Answer>>>>,
    url: Mutex<String>,
    room: Arc<Semaphore>,
}

impl std::fmt::Debug for Node<Answer, Answer> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Node")
    }
}

impl Inbox for Door {
    fn message(&self, _from: u64, bytes: Bytes) -> Pending<'_, ()> {
        Box::pin(async move {
            let permit = Arc::clone(&self.room).acquire_owned().await.unwrap();
            let node = self.orders.lock().unwrap().clone();
            if let (Some(node), Ok(message)) = (node, Message::decode(bytes)) {
                node.message(message, permit);
            }
        })
    }

    fn call(&self, _from: u64, body: Bytes) -> Pending<'_, Bytes> {
        Box::pin(async move { body })
    }

    fn ask(&self, body: Bytes) -> Pending<'_, Bytes> {
        Box::pin(async move { body })
    }

    fn receive(&self, _from: u64, _about: Bytes) -> io::Result<Box<dyn Sink>> {
        Err(io::Error::other("this test sends no snapshots"))
    }

    fn connected(&self, _member: u64) {}

    fn lost(&self, member: u64, _refused: bool) {
        if let Some(node) = self.orders.lock().unwrap().clone() {
            node.event(Event::Unreachable { peer: member });
        }
    }

    fn removed(&self) {}

    fn is_removed(&self, _member: u64) -> bool {
        false
    }

    fn observe_traffic(&self, _member: u64, _sent: usize, _received: usize) {}
}

struct Member {
    node: Arc<Node<Answer, Answer>>,
    door: Arc<Door>,
    transport: Transport,
    listening: JoinHandle<()>,
    commands: Arc<Mutex<Vec<Bytes>>>,
    soft_state: Arc<Mutex<Option<SoftState>>>,
    failed: Arc<Mutex<Option<String>>>,
    id: u64,
}

impl Member {
    async fn start(id: u64, disk: &Arc<dyn disk::Disk>, voters: &[u64], listener: TcpListener) -> Self {
        let transport = Transport::new(
            Identity { cluster: 7, member: id },
            Arc::new(Plain),
            tokio::runtime::Handle::current(),
        );
        let door = Arc::new(Door {
            orders: Mutex::default(),
            url: Mutex::new(format!("http://{}", listener.local_addr().unwrap())),
            room: Arc::new(Semaphore::new(1_000)),
        });
        transport.deliver_to(&(Arc::clone(&door) as Arc<dyn Inbox>));
        let position = crate::log::Position { index: 1, term: 1 };
        let options = Options {
            segment_bytes: 4_096,
            ..Options::default()
        };
        let directory = format!("/member-{id}");
        let (storage, found) = StableStorage::open(Arc::clone(disk), directory, &options, position).unwrap();
        let machine = List {
            commands: Arc::default(),
            applied: Arc::new(Mutex::new(1)),
            soft_state: Arc::default(),
            failed: Arc::default(),
        };
        let (commands, soft_state, failed) = (
            Arc::clone(&machine.commands),
            Arc::clone(&machine.soft_state),
            Arc::clone(&machine.failed),
        );
        let start = Start {
            config: Config {
                election_ms: 150,
                heartbeat_ms: 20,
                ..Config::new(id)
            },
            storage,
            found,
            snapshot: Snapshot {
                last: Position { index: 1, term: 1 },
                membership: Membership::new(voters.iter().copied(), []),
            },
        };
        let node = Arc::new(Node::start(start, machine, transport.clone()).unwrap());
        *door.orders.lock().unwrap() = Some(Arc::clone(&node));
        let listening = tokio::spawn(transport.clone().listen(listener, Arc::new(Plain)));
        Self {
            node,
            door,
            transport,
            listening,
            commands,
            soft_state,
            failed,
            id,
        }
    }

    async fn propose(&self, command: &str) -> Result<Index, ProposalError> {
        let (answer, waiting) = oneshot::channel();
        if let Err((_, why)) = self.node.propose(Bytes::copy_from_slice(command.as_bytes()), answer) {
            return Err(why);
        }
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("{command} is not answered"))
            .unwrap_or(Err(ProposalError::Stopped(None)))
    }

    async fn read(&self) -> Result<Index, ProposalError> {
        let (answer, waiting) = oneshot::channel();
        self.node.read(answer);
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("answered")
            .unwrap()
    }

    fn is_leader(&self) -> bool {
        self.node.gauges().is_leader()
    }

    fn stop(self) {
        *self.door.orders.lock().unwrap() = None;
        self.listening.abort();
        self.transport.end();
    }
}

async fn group(count: u64) -> (Vec<Member>, BTreeMap<u64, Arc<dyn disk::Disk>>) {
    let ids: Vec<u64> = (1..=count).collect();
    let mut listeners = Vec::new();
    let mut urls = Vec::new();
    for id in &ids {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        urls.push((*id, vec![format!("http://{}", listener.local_addr().unwrap())]));
        listeners.push(listener);
    }
    let mut members = Vec::new();
    let mut disks: BTreeMap<u64, Arc<dyn disk::Disk>> = BTreeMap::new();
    for (id, listener) in ids.iter().zip(listeners) {
        let disk: Arc<dyn disk::Disk> = Arc::new(MemoryDisk::new());
        let member = Member::start(*id, &disk, &ids, listener).await;
        member.transport.set_peers(urls.clone());
        disks.insert(*id, disk);
        members.push(member);
    }
    (members, disks)
}

async fn leader_of(members: &[Member]) -> &Member {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(leader) = members.iter().find(|member| member.is_leader()) {
            return leader;
        }
        assert!(Instant::now() < deadline, "nobody leads");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_leads_at_once_and_groups_what_waits() {
    let (members, _disks) = group(1).await;
    let leader = leader_of(&members).await;
    assert!(leader.node.gauges().is_alone());
    // The driver hands over what it wrote first, and finds this locked: the rest waits for its next turn.
    let commands = leader.commands.lock().unwrap();
    let mut answers = Vec::new();
    for number in 0..300 {
        let (answer, waiting) = oneshot::channel();
        let queued = leader.node.propose(format!("command {number}").into(), answer);
        assert!(queued.is_ok());
        answers.push(waiting);
    }
    drop(commands);
    let mut indexes = Vec::new();
    for waiting in answers {
        let answer = tokio::time::timeout(PATIENCE, waiting).await.expect("answered");
        indexes.push(answer.unwrap().unwrap());
    }
    assert!(
        indexes.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "in the order of asking"
    );
    let written = leader.node.gauges().written();
    assert!(written.groups < 10, "{} groups for 300 commands", written.groups);
    assert!(leader.read().await.unwrap() >= indexes[299]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_agree_and_followers_pass_on() {
    let (members, _disks) = group(3).await;
    leader_of(&members).await;
    let mut indexes = Vec::new();
    for number in 0..60 {
        let member = &members[number % 3];
        let index = loop {
            match member.propose(&format!("{number}")).await {
                Ok(index) => break index,
                Err(why) if is_transient(&why) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(why) => panic!("{why:?}"),
            }
        };
        indexes.push(index);
    }
    assert!(indexes.is_sorted());
    for member in &members {
        let from = loop {
            match member.read().await {
                Ok(from) => break from,
                Err(why) => assert!(is_transient(&why), "{why:?}"),
            }
        };
        assert!(from >= indexes[59], "a read knows what was acknowledged before");
        eventually("all is applied everywhere", || {
            member.commands.lock().unwrap().len() == 60
        })
        .await;
    }
    let lists: Vec<_> = members
        .iter()
        .map(|member| member.commands.lock().unwrap().clone())
        .collect();
    assert!(lists.iter().all(|list| *list == lists[0]));
    assert!(members.iter().all(|member| member.failed.lock().unwrap().is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_member_leads_when_the_leader_ends_and_nothing_is_lost() {
    let (mut members, disks) = group(3).await;
    let first = leader_of(&members).await.id;
    for number in 0..20 {
        leader_of(&members)
            .await
            .propose(&format!("before {number}"))
            .await
            .unwrap();
    }
    let position = members.iter().position(|member| member.id == first).unwrap();
    members.remove(position).stop();
    eventually("another leads", || {
        members.iter().any(|member| {
            let soft_state = *member.soft_state.lock().unwrap();
            soft_state.is_some_and(|soft_state| soft_state.leader.is_some_and(|leader| leader != first))
                && member.is_leader()
        })
    })
    .await;
    loop {
        let leader = leader_of(&members).await;
        match leader.propose("after").await {
            Ok(_) => break,
            Err(why) => assert!(is_transient(&why), "{why:?}"),
        }
    }
    let leader = leader_of(&members).await;
    let commands = leader.commands.lock().unwrap().clone();
    assert_eq!(commands.len(), 21);
    // Started again on its disk, it catches up.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let again = Member::start(first, &disks[&first], &[1, 2, 3], listener).await;
    for member in &members {
        let status = status_of(&member.node).await;
        assert!(status.commit >= 21);
        let others = [1, 2, 3].into_iter().filter(|id| *id != member.id);
        member.transport.set_peers(others.map(|id| {
            if id == first {
                (id, vec![url.clone()])
            } else {
                let other = members.iter().find(|other| other.id == id).unwrap();
                (id, vec![listening_url(other)])
            }
        }));
    }
    again
        .transport
        .set_peers(members.iter().map(|member| (member.id, vec![listening_url(member)])));
    eventually("it has caught up", || *again.commands.lock().unwrap() == commands).await;
}

async fn status_of(node: &Node<Answer, Answer>) -> crate::consensus::Status {
    let (answer, waiting) = oneshot::channel();
    node.status(move |status| {
        let _gone = answer.send(status);
    });
    waiting.await.unwrap()
}

fn listening_url(member: &Member) -> String {
    member.door.url.lock().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_added_one_at_a_time() {
    let (members, _disks) = group(1).await;
    let leader = leader_of(&members).await;
    leader.propose("one").await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let disk: Arc<dyn disk::Disk> = Arc::new(MemoryDisk::new());
    let url = format!("http://{}", listener.local_addr().unwrap());
    let joining = Member::start(2, &disk, &[1], listener).await;
    let members = [(1, vec![listening_url(leader)]), (2, vec![url])];
    leader.transport.set_peers(members.clone());
    joining.transport.set_peers(members);
    let (answer, waiting) = oneshot::channel();
    leader
        .node
        .change_members(MemberChange::AddLearner(2), Bytes::from("two"), answer);
    waiting.await.unwrap().unwrap();
    assert!(leader.node.gauges().is_alone(), "a learner does not vote");
    eventually("the learner has all", || joining.commands.lock().unwrap().len() == 1).await;
    loop {
        let (answer, waiting) = oneshot::channel();
        leader
            .node
            .change_members(MemberChange::Promote(2), Bytes::new(), answer);
        match waiting.await.unwrap() {
            Ok(_) => break,
            Err(ProposalError::Refused(crate::consensus::Refusal::LearnerBehind)) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(why) => panic!("{why:?}"),
        }
    }
    assert!(!leader.node.gauges().is_alone());
    leader.propose("two").await.unwrap();
    eventually("both have it", || joining.commands.lock().unwrap().len() == 2).await;
    let (answer, waiting) = oneshot::channel();
    leader.node.transfer_leadership(2, answer);
    let answer = waiting.await;
    assert!(answer.is_err(), "nobody refuses it: {answer:?}");
    eventually("the other leads", || joining.is_leader()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_recovers() {
    let faulty = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let disk: Arc<dyn disk::Disk> = Arc::new(faulty.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let member = Member::start(1, &disk, &[1], listener).await;
    member.propose("before").await.unwrap();
    faulty.set_space_left(Some(0));
    for _ in 0..3 {
        assert_eq!(member.propose("during").await, Err(ProposalError::NoSpace));
    }
    assert!(member.node.gauges().is_full());
    faulty.set_space_left(None);
    member.propose("after").await.unwrap();
    assert!(!member.node.gauges().is_full());
    assert_eq!(*member.commands.lock().unwrap(), ["before", "after"]);
    faulty.fail_syncs(true);
    assert!(matches!(member.propose("lost").await, Err(ProposalError::Stopped(_))));
    faulty.fail_syncs(false);
    assert!(matches!(member.propose("still").await, Err(ProposalError::Stopped(_))));
    assert!(member.failed.lock().unwrap().is_some());
}

#[test]
fn messages_are_encoded_as_consensus_has_them() {
    let message = Message {
        from: 1,
        to: 2,
        term: 3,
        body: Body::TimeoutNow,
    };
    let mut bytes = bytes::BytesMut::new();
    message.encode(&mut bytes);
    assert_eq!(Message::decode(bytes.freeze()).unwrap(), message);
}
