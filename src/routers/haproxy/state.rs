//! Reads `show servers state`.

use crate::ports::RouterError;

/// A server as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Its name in the backend.
    pub(super) name: String,
    /// 0 to 256.
    pub(super) weight: u16,
    /// Put into maintenance over the socket.
    pub(super) in_maintenance: bool,
}

/// The bit of `srv_admin_state` that `set server ... state maint` sets (`SRV_ADMF_FMAINT`).
const FORCED_MAINTENANCE: u16 = 0x01;

/// Refuses names that HAProxy does not allow either, so that none can carry a command of its own.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), RouterError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if !name.is_empty() && name.chars().all(allowed) {
        return Ok(());
    }
    Err(RouterError::Refused(format!(
        "{name:?} is not the name of a {what}: it consists of letters, digits, `-`, `_`, `.` and `:`"
    )))
}

/// The servers of `backend` in the answer: a line with the format's version, one with the names of the
/// columns, then one line a server.
pub(super) fn servers(backend: &str, answer: &str) -> Result<Vec<Server>, RouterError> {
    let mut lines = answer.lines().filter(|line| !line.trim().is_empty());
    let (version, names) = (lines.next(), lines.next().and_then(|line| line.strip_prefix('#')));
    let (Some("1"), Some(names)) = (version.map(str::trim), names) else {
        let shown: String = answer.chars().take(200).collect();
        return Err(RouterError::Malformed(format!("`show servers state` gave {shown:?}")));
    };
    let names: Vec<&str> = names.split_whitespace().collect();
    let column = |name: &str| {
        names
            .iter()
            .position(|column| *column == name)
            .ok_or_else(|| RouterError::Malformed(format!("`show servers state` has no column `{name}`")))
    };
    let (of, name) = (column("be_name")?, column("srv_name")?);
    let (weight, admin) = (column("srv_uweight")?, column("srv_admin_state")?);
    let mut servers = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        if field(of) != backend {
            continue;
        }
        let number = |at: usize| {
            field(at).parse::<u16>().map_err(|_| {
                RouterError::Malformed(format!("`{}` of a server is {:?}", names[at], field(at)))
            })
        };
        servers.push(Server {
            name: field(name).to_owned(),
            weight: number(weight)?,
            in_maintenance: number(admin)? & FORCED_MAINTENANCE != 0,
        });
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state \
                          srv_uweight srv_iweight\n3 shop 1 stable 127.0.0.1 2 0 243 256\n\
                          3 shop 2 canary 127.0.0.1 0 1 13 0\n4 cart 1 stable 127.0.0.1 2 0 1 1\n\n";

    #[test]
    fn the_columns_are_found_by_their_names() {
        let wanted = [
            Server { name: "stable".into(), weight: 243, in_maintenance: false },
            Server { name: "canary".into(), weight: 13, in_maintenance: true },
        ];
        assert_eq!(servers("shop", ANSWER).unwrap(), wanted);
        let other = "1\n# srv_uweight srv_name x be_name srv_admin_state\n7 a ? shop 32\n\n";
        let wanted = [Server { name: "a".into(), weight: 7, in_maintenance: false }];
        assert_eq!(servers("shop", other).unwrap(), wanted);
    }

    #[test]
    fn what_cannot_be_read_is_malformed() {
        let cases = [
            "",
            "\n",
            "2\n# be_name srv_name srv_uweight srv_admin_state\n\n",
            "Unknown command.\n\n",
            "1\n# be_name srv_name srv_uweight\nshop a 1\n\n",
            "1\n# be_name srv_name srv_uweight srv_admin_state\nshop a many 0\n\n",
            "1\n# be_name srv_name srv_uweight srv_admin_state\nshop a 1\n\n",
        ];
        for answer in cases {
            let outcome = servers("shop", answer);
            assert!(matches!(outcome, Err(RouterError::Malformed(_))), "{answer:?}: {outcome:?}");
        }
    }

    #[test]
    fn names_cannot_carry_commands() {
        for name in ["", "a b", "a;shutdown", "a/b", "a\nb"] {
            assert!(matches!(check_name("server", name), Err(RouterError::Refused(_))), "{name:?}");
        }
        assert_eq!(check_name("server", "web-1.eu:8080_x"), Ok(()));
    }
}
