//! Which addresses may be called. Policies are written by people who need not be those who run Serin: a
//! policy must not make the daemon read what only its own machine can reach.
//!
//! The client resolves a name once for a call by [`Guard`], every one of its addresses must be allowed, and
//! the call goes to these addresses: another answer of the name's server in between changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Client;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::OnceCell;
use url::{Host, Url};

use super::answer::{Fault, Refused};
use super::client::Builder;

/// For a call that has no deadline of its own.
const LONGEST: Duration = Duration::from_secs(600);

/// Addresses at which clouds give out credentials. They are never called.
const METADATA_4: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];
const METADATA_6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// Why an address is not called; `None`: it may be.
pub fn refusal(address: IpAddr, allow_private: bool) -> Option<String> {
    let address = inner(address);
    let is_metadata = match address {
        IpAddr::V4(address) => METADATA_4.contains(&address),
        IpAddr::V6(address) => METADATA_6.contains(&address),
    };
    if is_metadata {
        return Some(format!(
            "{address} is an address where a cloud gives out credentials; it is never called"
        ));
    }
    let kind = match address {
        _ if allow_private => None,
        IpAddr::V4(address) => kind_of_4(address),
        IpAddr::V6(address) => kind_of_6(address),
    };
    kind.map(|kind| format!("{address} is a {kind} address; `allow_private: true` allows it"))
}

/// Why the host of a URL is not called, where it is written as an address.
pub fn refusal_of_url(url: &Url, allow_private: bool) -> Option<String> {
    match url.host()? {
        Host::Ipv4(address) => refusal(address.into(), allow_private),
        Host::Ipv6(address) => refusal(address.into(), allow_private),
        Host::Domain(_) => None,
    }
}

/// Resolves names to addresses that may be called: one that may not refuses the name.
#[derive(Clone, Copy)]
pub struct Guard {
    allow_private: bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let name = name.as_str();
            // The port is the URL's; the client puts it in.
            let looked_up = tokio::net::lookup_host((name, 0)).await;
            let found: Vec<SocketAddr> = looked_up
                .map_err(|error| Refused(format!("the name {name} cannot be resolved: {error}")))?
                .collect();
            if found.is_empty() {
                return Err(Refused("the name has no address".to_owned()).into());
            }
            match found.iter().find_map(|address| refusal(address.ip(), allow_private)) {
                Some(refusal) => Err(Refused(refusal).into()),
                None => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

/// The clients for addresses that policies name; each is built once, when it is first needed. They use no
/// proxy, which would resolve names by itself.
#[derive(Default)]
pub struct Guarded {
    public: OnceCell<Client>,
    near: OnceCell<Client>,
}

impl Guarded {
    /// The client for a URL.
    ///
    /// # Errors
    /// [`Fault::Refused`] if the URL names an address that may not be called, [`Fault::Lost`] if the client
    /// cannot be built.
    pub async fn client(&self, url: &Url, allow_private: bool) -> Result<&Client, Fault> {
        // Addresses are not resolved, so the resolver does not see them.
        if let Some(refusal) = refusal_of_url(url, allow_private) {
            return Err(Fault::Refused(refusal));
        }
        let cell = if allow_private { &self.near } else { &self.public };
        let build = || async {
            let builder = Builder::new(LONGEST).without_proxy().resolved_by(Guard { allow_private });
            builder.build().map_err(|error| Fault::Lost(error.to_string()))
        };
        cell.get_or_try_init(build).await
    }
}

/// The IPv4 address within an IPv6 address that only stands for it.
fn inner(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    let words = six.segments();
    let four = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match words {
        // Mapped, translated (NAT64), and 6to4; the old compatible form too, but not :: and ::1.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => four(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high > 0 => four(high, low),
        [0x2002, high, low, ..] => four(high, low),
        _ => address,
    }
}

fn kind_of_4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = address.octets();
    Some(match (a, b, c) {
        _ if address.is_loopback() => "loopback",
        _ if address.is_private() => "private",
        _ if address.is_link_local() => "link-local",
        (100, 64..=127, _) => "carrier's private",
        (0, ..) => "meaningless",
        (192, 0, 0) | (192, 0, 2) | (198, 51, 100) | (203, 0, 113) | (198, 18..=19, _) => "reserved",
        (224..=239, ..) => "multicast",
        (240.., ..) => "reserved",
        _ => return None,
    })
}

fn kind_of_6(address: Ipv6Addr) -> Option<&'static str> {
    let first = address.segments()[0];
    Some(match first {
        _ if address.is_loopback() => "loopback",
        _ if address.is_unspecified() => "meaningless",
        0xfc00..=0xfdff => "private",
        0xfe80..=0xfebf => "link-local",
        0xfec0..=0xfeff => "site-local",
        0xff00.. => "multicast",
        0x64 | 0x100 => "reserved",
        0x2001 if matches!(address.segments()[1], 0 | 0xdb8) => "reserved",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_public_are_refused() {
        for (address, says) in [
            ("127.0.0.1", "loopback"),
            ("127.9.9.9", "loopback"),
            ("10.1.2.3", "private"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.168.1.1", "private"),
            ("169.254.1.1", "link-local"),
            ("100.64.0.1", "carrier"),
            ("100.127.255.255", "carrier"),
            ("0.0.0.0", "meaningless"),
            ("255.255.255.255", "reserved"),
            ("224.0.0.1", "multicast"),
            ("198.18.0.1", "reserved"),
            ("::1", "loopback"),
            ("::", "meaningless"),
            ("fc00::1", "private"),
            ("fdff::1", "private"),
            ("fe80::1", "link-local"),
            ("ff02::1", "multicast"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.0.0.1", "private"),
            ("64:ff9b::10.0.0.1", "private"),
            ("2002:7f00:1::", "loopback"),
            ("::127.0.0.1", "loopback"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let refused = refusal(address, false).unwrap_or_default();
            assert!(refused.contains(says), "{address}: {refused}");
            assert_eq!(refusal(address, true), None, "{address}");
        }
        for address in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert_eq!(refusal(address.parse().unwrap(), false), None, "{address}");
        }
    }

    #[tokio::test]
    async fn clients_are_built_once_and_refuse_what_is_written_as_an_address() {
        let guarded = Guarded::default();
        let url = |text: &str| Url::parse(text).unwrap();
        let first: *const Client = guarded.client(&url("https://one.example"), false).await.unwrap();
        let second: *const Client = guarded.client(&url("https://two.example"), false).await.unwrap();
        assert_eq!(first, second);
        let near: *const Client = guarded.client(&url("http://127.0.0.1"), true).await.unwrap();
        assert_ne!(first, near);
        let refused = guarded.client(&url("http://127.0.0.1"), false).await.unwrap_err();
        assert!(matches!(&refused, Fault::Refused(why) if why.contains("loopback")), "{refused}");
    }

    #[tokio::test]
    async fn names_are_resolved_to_allowed_addresses_only() {
        let resolve = |allow_private| Guard { allow_private }.resolve("localhost".parse().unwrap());
        assert!(resolve(true).await.is_ok_and(|mut found| found.all(|address| address.ip().is_loopback())));
        let refused = resolve(false).await.err().unwrap();
        assert!(refused.downcast_ref::<Refused>().is_some_and(|why| why.0.contains("loopback")), "{refused}");
    }

    #[test]
    fn metadata_addresses_are_refused_even_where_private_ones_are_allowed() {
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ] {
            let refused = refusal(address.parse().unwrap(), true).unwrap_or_default();
            assert!(refused.contains("never called"), "{address}: {refused}");
        }
        // However the address is written in a URL.
        for url in [
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://0251.0376.0251.0376/",
            "http://[::ffff:a9fe:a9fe]/",
        ] {
            let refused = refusal_of_url(&Url::parse(url).unwrap(), true).unwrap_or_default();
            assert!(refused.contains("never called"), "{url}: {refused}");
        }
    }
}
