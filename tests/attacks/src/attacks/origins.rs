//! Pages of others.

use async_trait::async_trait;

use crate::Failure;
use crate::attack::{Attack, Field};
use crate::socket::{Knock, Opened, Socket};

/// Foreign, `null` and look-alike origins.
pub(crate) struct Origins;

#[async_trait]
impl Attack for Origins {
    fn name(&self) -> &'static str {
        "origins"
    }

    fn about(&self) -> &'static str {
        "pages of foreign, null and look-alike origins try to connect"
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        for (origin, status) in [
            ("https://good.example", 101),
            ("https://GOOD.example", 101),
            ("https://evil.example", 403),
            ("null", 403),
            ("http://good.example", 403),
            ("https://good.example.evil.example", 403),
            ("https://evilgood.example", 403),
            ("https://good.example:8443", 403),
            ("https://good.example@evil.example", 403),
            ("https://good.example/", 403),
            ("https://good.example#", 403),
            ("https://good.example, https://evil.example", 403),
            ("https://good\u{130}.example", 403),
            ("https://g\u{43e}\u{43e}d.example", 403),
            ("good.example", 403),
            ("", 403),
        ] {
            let headers = format!("Origin: {origin}\r\n");
            knock(field, &format!("Origin: {origin}"), headers, status).await?;
        }
        let two = "Origin: https://good.example\r\nOrigin: https://evil.example\r\n";
        knock(field, "two origins", two.to_owned(), 403).await?;
        let folded = "Origin: https://evil.example\r\nX-Origin: https://good.example\r\n";
        knock(field, "another header with a good one", folded.to_owned(), 403).await
    }
}

async fn knock(field: &Field, what: &str, headers: String, status: u16) -> Result<(), Failure> {
    let seen = match Socket::knock(field.address, &Knock { headers, ..Knock::default() }).await? {
        Opened::Ok(_) => 101,
        Opened::Err(response) => response.status,
    };
    field.same(what, status, seen);
    Ok(())
}
