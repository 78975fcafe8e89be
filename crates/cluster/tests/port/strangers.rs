//! Many that want to come in and never say who they are.

use cluster::Rpc;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::scene::{Node, keys};

/// Half-open connections in all, and those that are held at one time.
const FLOOD: usize = 10_000;
const HELD: usize = 500;

async fn half_open(from: &str, to: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(from.parse().unwrap()).unwrap();
    socket.connect(to.parse().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn class_n_ten_thousand_half_open_connections_do_not_keep_members_out() {
    let keys = keys();
    let one = Node::new(1, &keys).await;
    let mut held = std::collections::VecDeque::new();
    for n in 0..FLOOD {
        held.push_back(half_open("127.0.0.2:0", &one.address).await);
        if held.len() > HELD {
            // Pushed out by younger ones: its place is free again. It says nothing, and is told nothing.
            let mut oldest = held.pop_front().unwrap();
            let mut answer = Vec::new();
            let _ = oldest.read_to_end(&mut answer).await;
            assert!(answer.is_empty());
        }
        if n % 2_500 == 2_499 {
            // A new member needs a place of its own in the middle of it.
            let two = Node::new(2, &keys).await;
            two.call(one.to(), Rpc::Append, b"entries").await.unwrap();
        }
    }
}
