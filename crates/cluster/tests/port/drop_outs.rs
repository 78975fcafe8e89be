//! Peers that stop, fall silent and come back.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cluster::{Rpc, Settings, Timing, To};
use replication::Peers;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::scene::{LONG, Memory, Node, keys, patient};

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_call_to_a_peer_that_does_not_answer_ends_in_its_time() {
    let keys = keys();
    let silent = Memory::new(Box::new(|_, _, _| Box::pin(pending())), Box::new(|_, _, _| Box::pin(pending())));
    let (one, two) = (Node::new(1, &keys).await, Node::with(2, &keys, silent).await);
    let refused = one.port.call(two.to(), Rpc::Append, "entries".into(), SHORT).await.unwrap_err();
    assert_eq!(refused.0, format!("other at {}: no answer to append within 50ms", two.address));
}

#[tokio::test]
async fn a_call_to_a_peer_that_is_stopped_ends_in_its_time() {
    // What a stopped process looks like: its kernel accepts, nobody speaks.
    let stopped = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = stopped.local_addr().unwrap().to_string();
    let one = Node::new(1, &keys()).await;
    let to = To { raft_id: 2, node_id: "two", address: &address };
    let refused = one.port.call(to, Rpc::Vote, "".into(), SHORT).await.unwrap_err();
    assert_eq!(refused.0, format!("two at {address}: no answer to vote within 50ms"));
}

#[tokio::test]
async fn a_call_to_an_address_where_nobody_is_fails_at_once() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap().to_string();
    drop(gone);
    let one = Node::new(1, &keys()).await;
    for address in [address.as_str(), "127.0.0.1", "host.invalid:8201", "", ":", "127.0.0.1:99999"] {
        let to = To { raft_id: 2, node_id: "two", address };
        let refused = one.call(to, Rpc::Vote, b"").await.unwrap_err();
        assert!(refused.starts_with(&format!("two at {address}: ")), "{refused}");
    }
}

#[tokio::test]
async fn a_peer_at_another_address_is_found_there_without_waiting() {
    let keys = keys();
    let (one, two) = (Node::new(1, &keys).await, Node::new(2, &keys).await);
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    for _ in 0..20 {
        let _ = one.call(To { address: &gone, ..two.to() }, Rpc::Vote, b"").await.unwrap_err();
    }
    one.call(two.to(), Rpc::Vote, b"").await.unwrap();
    // A connection that stands leads to the node, whatever its address is called now.
    one.call(To { address: &gone, ..two.to() }, Rpc::Vote, b"").await.unwrap();
}

#[tokio::test]
async fn a_dead_address_of_a_peer_does_not_hold_up_the_right_one() {
    let keys = keys();
    let (one, two) = (Node::new(1, &keys).await, Node::new(2, &keys).await);
    let stopped = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = stopped.local_addr().unwrap().to_string();
    let lost = one.port.call(To { address: &dead, ..two.to() }, Rpc::Hello, "here".into(), LONG);
    let found = one.call(two.to(), Rpc::Hello, b"here");
    tokio::pin!(lost, found);
    // Both are under way; the one that can be answered is, and then the other goes the same way.
    let first = futures::future::select(lost, found).await;
    match first {
        futures::future::Either::Right((answer, lost)) => {
            answer.unwrap();
            lost.await.unwrap();
        }
        futures::future::Either::Left((answer, found)) => {
            answer.unwrap();
            found.await.unwrap();
        }
    }
    assert_eq!(two.inside.count(), 2);
}

/// Passes bytes on until it is muted; then it takes connections and bytes and says nothing, like a network that loses everything.
struct Cable {
    address: String,
    muted: Arc<AtomicBool>,
    mute: Arc<Notify>,
}

impl Cable {
    async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cable = Self { address: listener.local_addr().unwrap().to_string(), muted: Arc::default(), mute: Arc::default() };
        let (muted, mute) = (Arc::clone(&cable.muted), Arc::clone(&cable.mute));
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let (target, muted, mute) = (target.clone(), Arc::clone(&muted), Arc::clone(&mute));
                tokio::spawn(async move {
                    let silence = mute.notified();
                    if !muted.load(Ordering::SeqCst) {
                        let Ok(mut far) = TcpStream::connect(target).await else { return };
                        tokio::select! {
                            _ = copy_bidirectional(&mut near, &mut far) => return,
                            () = silence => {}
                        }
                        return pending::<()>().await;
                    }
                    pending::<()>().await;
                });
            }
        });
        cable
    }

    fn pull(&self) {
        self.muted.store(true, Ordering::SeqCst);
        self.mute.notify_waiters();
    }

    fn plug_in(&self) {
        self.muted.store(false, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_connection_that_fell_silent_is_given_up_and_made_anew() {
    let keys = keys();
    let quick = Timing { connect: SHORT, handshake: 10 * SHORT, ping_interval: SHORT, ping_timeout: 4 * SHORT, ..patient() };
    let one = Node::sealed(1, Memory::echoing(), Settings { timing: quick, ..Settings::default() }).await;
    one.port.enter(&keys, 1).unwrap();
    let two = Node::new(2, &keys).await;
    let cable = Cable::to(two.address.clone()).await;
    let to = To { address: &cable.address, ..two.to() };
    one.call_until_answered(to).await;
    cable.pull();
    // The calls have no time limit of their own to speak of: the silence ends them.
    while one.port.call(to, Rpc::Append, "entries".into(), LONG).await.is_ok() {}
    while one.port.call(to, Rpc::Append, vec![0; 1 << 20].into(), LONG).await.is_ok() {}
    cable.plug_in();
    one.call_until_answered(to).await;
}

#[tokio::test]
async fn a_node_that_restarts_on_its_address_is_found_again() {
    let keys = keys();
    let one = Node::new(1, &keys).await;
    let two = Node::new(2, &keys).await;
    let address = two.address.clone();
    let to = To { raft_id: 2, node_id: "two", address: &address };
    for _ in 0..3 {
        one.call_until_answered(to).await;
    }
    two.port.close().await;
    while one.call(to, Rpc::Vote, b"").await.is_ok() {}
    let port = cluster::Port::bind(std::slice::from_ref(&address), crate::scene::settings()).await.unwrap();
    port.serve(Memory::echoing());
    port.enter(&keys, 2).unwrap();
    one.call_until_answered(to).await;
}

#[tokio::test]
async fn a_node_that_leaves_ends_what_it_asks_and_finishes_what_it_answers() {
    let keys = keys();
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&begun), Arc::clone(&go));
    let slow = Memory::new(
        Box::new(move |_, _, _| {
            let (tell, wait) = (Arc::clone(&tell), Arc::clone(&wait));
            Box::pin(async move {
                tell.notify_one();
                wait.notified().await;
                Ok("late".into())
            })
        }),
        Box::new(|_, _, _| Box::pin(pending())),
    );
    let one = Arc::new(Node::new(1, &keys).await);
    let two = Arc::new(Node::with(2, &keys, slow).await);
    let (asker, asked) = (Arc::clone(&one), Arc::clone(&two));
    let call = tokio::spawn(async move { asker.call(asked.to(), Rpc::Propose, b"change").await });
    begun.notified().await;
    let leaving = tokio::spawn({
        let two = Arc::clone(&two);
        async move { two.port.leave().await }
    });
    go.notify_one();
    leaving.await.unwrap();
    // Answered in its moment; a machine that stalls longer than that ends it. Never anything else.
    match call.await.unwrap() {
        Ok(answer) => assert_eq!(answer, "late"),
        Err(lost) => assert!(lost.starts_with("other at"), "{lost}"),
    }
    // The other way round: what this node asked is over as soon as it leaves.
    let (asker, asked) = (
        Arc::clone(&one),
        Arc::new(
            Node::with(
                3,
                &keys,
                Memory::new(
                    Box::new({
                        let begun = Arc::clone(&begun);
                        move |_, _, _| {
                            begun.notify_one();
                            Box::pin(pending())
                        }
                    }),
                    Box::new(|_, _, _| Box::pin(pending())),
                ),
            )
            .await,
        ),
    );
    let call = tokio::spawn({
        let asker = Arc::clone(&asker);
        async move { asker.call(asked.to(), Rpc::Propose, b"change").await }
    });
    begun.notified().await;
    one.port.leave().await;
    assert!(call.await.unwrap().is_err());
}
