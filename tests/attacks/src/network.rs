//! Networks of their own, for attacks that need addresses and cut wires.

use std::process::Command;

use crate::Failure;

/// Runs one attack in a new network namespace that has these addresses; skips it, with a word, where that is
/// not permitted.
pub(crate) fn run(name: &str, addresses: &[&str], quick: bool, seed: u64) -> Result<bool, Failure> {
    let permitted = Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]).output();
    if !permitted.is_ok_and(|output| output.status.success()) {
        println!("{name:<24}skipped: a network of its own needs root, unshare and ip");
        return Ok(true);
    }
    let mut script = String::from("ip link set lo up");
    for address in addresses {
        script.push_str(" && ip addr add ");
        script.push_str(address);
        script.push_str(" dev lo");
    }
    script.push_str(" && exec \"$0\" \"$@\"");
    let me = std::env::current_exe()?;
    let mut inside = Command::new("unshare");
    inside.args(["--net", "sh", "-c", &script]).arg(me);
    inside.args(["attack", "--inside", "--only", name, "--seed", &seed.to_string()]);
    if quick {
        inside.arg("--quick");
    }
    Ok(inside.status()?.success())
}

/// Cuts the wire to `address`, an IPv4 address of this network's: what is sent from or to it is lost.
pub(crate) fn cut(address: &str) -> Result<(), Failure> {
    for arguments in [format!("addr del {address}/32 dev lo"), format!("route add blackhole {address}/32")] {
        let done = Command::new("ip").args(arguments.split(' ')).status()?;
        if !done.success() {
            return Err(format!("ip {arguments}: {done}").into());
        }
    }
    Ok(())
}
