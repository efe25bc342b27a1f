//! Reads `show stat`: the state of the servers, and how many requests no server could take.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::trail::Trail;
use crate::core::pools::{FrontState, PoolState};
use crate::core::split::Role;
use crate::ports::{Route, RouterError};

/// The trail's names of the backend's own counters; no server can have such a name.
const REQUESTS: &str = "/requests";
const REFUSED: &str = "/refused";

/// What is known of one backend.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// When it was asked last, by the monotonic clock.
    pub(super) asked_at: Option<Duration>,
    rows: Vec<Row>,
    trail: Trail,
}

/// A server's or the backend's line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    name: String,
    is_backend: bool,
    status: String,
    /// In slow start: the share of its weight that it gets, in percent.
    throttle: Option<u32>,
    /// Requests (of the backend) or attempts (of a server).
    requests: u64,
    /// Requests that ended without a connection to a server; of the backend also those for which there was no
    /// server to try.
    refused: u64,
}

impl Known {
    /// Takes in what HAProxy says at `at`; what cannot be read leaves nothing known.
    ///
    /// # Errors
    /// [`RouterError::Malformed`].
    pub(super) fn take(&mut self, at: Duration, answer: &str) -> Result<(), RouterError> {
        self.rows.clear();
        self.rows = rows(answer)?;
        let mut counters = BTreeMap::new();
        for row in &self.rows {
            if row.is_backend {
                counters.insert(REQUESTS.to_owned(), row.requests);
                counters.insert(REFUSED.to_owned(), row.refused);
            } else {
                counters.insert(row.name.clone(), row.requests);
            }
        }
        self.trail.add(at, counters);
        Ok(())
    }

    /// Nothing is known any more.
    pub(super) fn lose(&mut self) {
        self.rows.clear();
    }

    /// The servers of each role; empty if nothing is known.
    pub(super) fn pools(&self, route: &Route) -> BTreeMap<Role, PoolState> {
        if self.rows.is_empty() {
            return BTreeMap::new();
        }
        route.pools.iter().map(|(role, pool)| (*role, self.pool(&pool.backend))).collect()
    }

    fn pool(&self, servers: &str) -> PoolState {
        let mut pool = PoolState::default();
        for name in servers.split(',').map(str::trim) {
            let Some(row) = self.rows.iter().find(|row| !row.is_backend && row.name == name) else {
                continue;
            };
            pool.servers += 1;
            match row.status.split([' ', '/']).next().unwrap_or_default() {
                "DRAIN" | "NOLB" => pool.draining += 1,
                "MAINT" => pool.maintenance += 1,
                // `no check`, `UP`, and `UP 1/3`, which fails its checks and is up still.
                "UP" | "no" => pool.up += 1,
                _ => {}
            }
            pool.warming += u32::from(row.throttle.is_some_and(|percent| percent < 100));
            if let Some(grown) = self.trail.grown(name) {
                pool.requests = Some(pool.requests.unwrap_or(0) + grown);
            }
        }
        pool
    }

    /// What became of the backend's requests.
    pub(super) fn front(&self, route: &Route) -> Option<FrontState> {
        if self.rows.is_empty() {
            return None;
        }
        Some(FrontState {
            over: self.trail.over(),
            requests: self.trail.grown(REQUESTS)?,
            unanswerable: self.trail.grown(REFUSED)?,
            how: format!("HAProxy could connect to no server of the backend {} (503, SC)", route.route),
        })
    }
}

/// The servers and the backend in the answer: comma-separated values under a line of names.
fn rows(answer: &str) -> Result<Vec<Row>, RouterError> {
    let mut lines = records(answer).into_iter();
    let names = lines.next().unwrap_or_default();
    let malformed = |what: String| RouterError::Malformed(format!("`show stat`: {what}"));
    if names.first().map(String::as_str) != Some("# pxname") {
        let shown: String = answer.chars().take(200).collect();
        return Err(malformed(format!("{shown:?}")));
    }
    let column = |name: &str| {
        let at = names.iter().position(|column| column == name);
        at.ok_or_else(|| malformed(format!("there is no column `{name}`")))
    };
    let (name, status, throttle, kind) =
        (column("svname")?, column("status")?, column("throttle")?, column("type")?);
    let (sessions, requests, refused) = (column("stot")?, column("req_tot")?, column("econ")?);
    let mut rows = Vec::new();
    for fields in lines {
        let field = |at: usize| fields.get(at).map(String::as_str).unwrap_or_default();
        let number = |at: usize| match field(at) {
            "" => Ok(None),
            text => text
                .parse::<u64>()
                .map(Some)
                .map_err(|_| malformed(format!("`{}` of {} is {text:?}", names[at], field(name)))),
        };
        let is_backend = match field(kind) {
            "1" => true,
            "2" => false,
            _ => continue,
        };
        // HTTP counts requests; TCP has sessions only.
        let counted = number(requests)?.filter(|_| is_backend);
        rows.push(Row {
            name: field(name).to_owned(),
            is_backend,
            status: field(status).to_owned(),
            throttle: number(throttle)?.map(|percent| u32::try_from(percent).unwrap_or(u32::MAX)),
            requests: counted.or(number(sessions)?).unwrap_or(0),
            refused: number(refused)?.unwrap_or(0),
        });
    }
    Ok(rows)
}

/// Fields that hold a comma, a quote or a line's end stand in quotes; a quote inside is doubled.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                let record = std::mem::take(&mut record);
                if record != [""] {
                    records.push(record);
                }
            }
            c => field.push(c),
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::spec::Pool;
    use crate::core::split::Split;

    const NAMES: &str = "# pxname,svname,stot,econ,status,throttle,type,req_tot,last_chk,\n";

    fn route(stable: &str, canary: &str) -> Route {
        let pool = |backend: &str| Pool { backend: backend.to_owned(), ..Pool::default() };
        Route {
            target: "shop".into(),
            route: "shop".into(),
            pools: BTreeMap::from([(Role::Stable, pool(stable)), (Role::Canary, pool(canary))]),
            split: Split::STABLE,
            generation: 1,
            nodes: BTreeMap::new(),
        }
    }

    #[test]
    fn every_status_is_one_of_five() {
        let answer = format!(
            "{NAMES}shop,a,5,0,UP,,2,,,\nshop,b,5,0,UP 1/3,40,2,,\"says \"\"no\"\",\nand more\",\n\
             shop,c,5,0,no check,,2,,,\nshop,d,5,0,DRAIN (agent),,2,,,\nshop,e,0,0,NOLB 1/2,,2,,,\n\
             shop,f,0,0,MAINT (via x/y),,2,,,\nshop,g,0,0,DOWN 1/2,,2,,,\nshop,h,0,0,DOWN (agent),,2,,,\n\
             shop,BACKEND,15,0,UP,,1,15,,\n\n"
        );
        let mut known = Known::default();
        known.take(Duration::ZERO, &answer).unwrap();
        let pools = known.pools(&route("a, b,c,d,e,f,g", "h"));
        let stable = &pools[&Role::Stable];
        assert_eq!((stable.servers, stable.up, stable.warming), (7, 3, 1));
        assert_eq!((stable.draining, stable.maintenance, stable.down()), (2, 1, 1));
        assert_eq!((pools[&Role::Canary].servers, pools[&Role::Canary].up), (1, 0));
    }

    #[test]
    fn requests_that_no_server_took_are_the_backends() {
        let answer = |requests: u32, refused: u32, of_a: u32| {
            format!(
                "{NAMES}shop,a,{of_a},3,UP,,2,,,\nshop,b,0,0,DOWN,,2,,,\nshop,BACKEND,9,{refused},UP,,1,{requests},,\n\n"
            )
        };
        let mut known = Known::default();
        let route = route("a", "b");
        assert_eq!((known.pools(&route).len(), known.front(&route)), (0, None));
        known.take(Duration::from_secs(1), &answer(1_000, 10, 990)).unwrap();
        assert_eq!(known.front(&route), None, "one reading of counters says nothing");
        known.take(Duration::from_secs(11), &answer(1_100, 100, 1_000)).unwrap();
        let front = known.front(&route).unwrap();
        assert_eq!((front.requests, front.unanswerable, front.over), (100, 90, Duration::from_secs(10)));
        assert!(front.how.contains("no server of the backend shop (503, SC)"), "{}", front.how);
        assert_eq!(known.pools(&route)[&Role::Stable].requests, Some(10));
        known.lose();
        assert_eq!((known.pools(&route).len(), known.front(&route)), (0, None));
    }

    #[test]
    fn what_cannot_be_read_is_malformed_and_leaves_nothing() {
        for answer in ["", "\n", "No such proxy.\n\n", "# pxname,svname\nshop,a\n\n"] {
            let outcome = Known::default().take(Duration::ZERO, answer);
            assert!(matches!(outcome, Err(RouterError::Malformed(_))), "{answer:?}: {outcome:?}");
        }
        let mut known = Known::default();
        known.take(Duration::ZERO, &format!("{NAMES}shop,a,5,0,UP,,2,,,\n\n")).unwrap();
        assert_eq!(known.pools(&route("a", "b")).len(), 2);
        known.take(Duration::ZERO, &format!("{NAMES}shop,a,many,0,UP,,2,,,\n\n")).unwrap_err();
        assert!(known.pools(&route("a", "b")).is_empty());
    }
}
