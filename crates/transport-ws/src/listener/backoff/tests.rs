use super::*;

#[tokio::test(start_paused = true)]
async fn pauses_double_up_to_a_second_and_start_over() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut backoff = Backoff::new();
    let emfile = io::Error::from_raw_os_error(24);
    let mut pauses = Vec::new();
    for round in 0..10 {
        if round == 9 {
            backoff.over();
            tokio::time::sleep(LONGEST).await;
            backoff.over();
            assert!(backoff.logged.is_none());
        }
        let before = Instant::now();
        backoff.failed(&emfile, &tcp).await;
        // A cancelled wait does not shorten the pause.
        let _ = tokio::time::timeout(Duration::from_millis(1), backoff.wait()).await;
        backoff.wait().await;
        pauses.push(before.elapsed().as_millis());
        assert!(backoff.spare.is_some());
        // That it works once, and fails again, is the same trouble still.
        if round == 8 {
            backoff.over();
            assert!(backoff.logged.is_some());
        }
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 10]);
}

#[tokio::test]
async fn those_who_wait_are_turned_away() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = tcp.local_addr().expect("an address");
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(tokio::net::TcpStream::connect(address).await.expect("the backlog has room"));
    }
    // What accept would do: the first call finds the socket's readiness.
    tokio::time::timeout(Duration::from_secs(5), async {
        drop(tcp.accept().await);
        Backoff::new().failed(&io::Error::from_raw_os_error(24), &tcp).await;
        for stream in waiting {
            let mut byte = [0];
            loop {
                stream.readable().await.expect("readable at its end");
                match stream.try_read(&mut byte) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    end => break assert!(matches!(end, Ok(0) | Err(_))),
                }
            }
        }
    })
    .await
    .expect("all are turned away");
}
