//! The server stops while clients come and go.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::STOP;
use crate::Failure;
use crate::report::Checks;
use crate::server::{Launch, Server};
use crate::socket::Socket;

/// Twelve servers, each with 200 clients that connect, subscribe, publish and go in every way there is.
pub(super) async fn run(checks: &Checks) -> Result<(), Failure> {
    let mut longest = Duration::ZERO;
    let mut came = 0;
    for round in 0..12u64 {
        let mut launch = Launch::new();
        launch.set("shutdown.timeout", "5s");
        let mut server = Server::start(&launch).await?;
        let address = server.address;
        let mut clients = JoinSet::new();
        for index in 0..200 {
            clients.spawn(async move {
                let mut visits = 0;
                while let Ok(mut socket) = Socket::connected(address).await {
                    visits += 1;
                    if socket.subscribe(&format!("churn-{}", index % 10)).await.is_err() {
                        break;
                    }
                    let publish =
                        format!(r#"{{"id":3,"publish":{{"channel":"churn-{}","data":1}}}}"#, index % 10);
                    match index % 4 {
                        0 => socket.kill(),
                        1 => drop(socket),
                        // Goes with its own words unread.
                        2 => _ = socket.text(&publish).await,
                        _ => _ = (socket.text(&publish).await, socket.message().await),
                    }
                }
                visits
            });
        }
        // Another moment in each round.
        sleep(Duration::from_millis(200 + 37 * round)).await;
        let begin = Instant::now();
        server.terminate().await?;
        match server.ended(STOP).await {
            Ok(Some(0)) => {}
            other => checks.check(format!("round {round}"), "exit code 0", format!("{other:?}"), false),
        }
        longest = longest.max(begin.elapsed());
        while let Some(visits) = clients.join_next().await {
            came += visits.unwrap_or(0);
        }
        let panics = server.log().matches("panicked at").count();
        if panics > 0 {
            checks.same(format!("round {round}: panics, see {}", server.folder().display()), 0, panics);
        } else {
            server.clean();
        }
    }
    let limit = Duration::from_secs(8);
    checks.check("the longest stop", "at most 8 s", format!("{longest:.1?}"), longest < limit);
    checks.check("visits", "many", came, came > 2400);
    Ok(())
}
