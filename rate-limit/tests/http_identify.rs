//! Clients are told apart by what cannot be made up, and no value panics.
#![cfg(feature = "http")]

use http::{HeaderName, HeaderValue, Request};
use mainstay_rate_limit::http::{
    Bearer, ClientId, ClientKey, Forwarded, ForwardedFor, Head, Header, Identify, Network, Peer, Subject, identify_fn,
};
use proptest::prelude::*;
use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED: &str = "forwarded";

fn request<T: AsRef<[u8]>>(name: &str, lines: &[T]) -> Request<()> {
    let mut request = Request::new(());
    for line in lines {
        let value = HeaderValue::from_bytes(line.as_ref()).unwrap();
        request.headers_mut().append(HeaderName::try_from(name).unwrap(), value);
    }
    request
}

fn told<'a>(identify: &impl Identify, request: &'a Request<()>) -> Option<ClientKey<'a>> {
    identify.identify(Head::from(request))
}

/// The network as text, or a dash.
fn network(identify: &impl Identify, name: &str, lines: &[&str]) -> String {
    match told(identify, &request(name, lines)) {
        Some(ClientKey::Network(network)) => network.to_string(),
        Some(other) => panic!("{other:?} is no network"),
        None => "-".to_owned(),
    }
}

fn key(address: IpAddr) -> ClientKey<'static> {
    ClientKey::Network(Network::of(address, 64))
}

#[test]
fn trusted_hops_are_counted_from_the_right_over_all_lines() {
    for (hops, lines, client) in [
        (1, &["203.0.113.9"][..], "203.0.113.9/32"),
        (1, &["6.6.6.6, 203.0.113.9"], "203.0.113.9/32"),
        (1, &["6.6.6.6", "203.0.113.9"], "203.0.113.9/32"),
        (1, &["203.0.113.9 \t"], "203.0.113.9/32"),
        (2, &["6.6.6.6, 203.0.113.9, 10.0.0.1"], "203.0.113.9/32"),
        (2, &["6.6.6.6,203.0.113.9", "10.0.0.1"], "203.0.113.9/32"),
        (2, &["6.6.6.6", "203.0.113.9 , 10.0.0.1"], "203.0.113.9/32"),
        (3, &["6.6.6.6", "203.0.113.9", "10.0.0.2,10.0.0.1"], "203.0.113.9/32"),
        (2, &["203.0.113.9"], "-"),
        (3, &["203.0.113.9", "10.0.0.1"], "-"),
        (0, &["203.0.113.9"], "-"),
        (usize::MAX, &["203.0.113.9, 10.0.0.1"], "-"),
        (1, &[], "-"),
        (1, &[""], "-"),
    ] {
        assert_eq!(network(&ForwardedFor::trusted(hops), X_FORWARDED_FOR, lines), client, "{hops} {lines:?}");
        let elements: Vec<_> = lines.iter().map(|line| for_each_element(line)).collect();
        let elements: Vec<_> = elements.iter().map(String::as_str).collect();
        assert_eq!(network(&Forwarded::trusted(hops), FORWARDED, &elements), client, "{hops} {elements:?}");
    }
}

/// The list of `X-Forwarded-For` as one of `Forwarded`.
fn for_each_element(list: &str) -> String {
    list.split(',').map(|node| format!("for={}", node.trim())).collect::<Vec<_>>().join(", ")
}

#[test]
fn an_entry_that_is_no_address_is_not_passed_over_for_one_further_left() {
    for last in
        ["unknown", "_hidden", "", "1.2.3", "1.2.3.4.5", "01.2.3.4", "localhost", "1.2.3.4:", "[::1", "fe80::1%1"]
    {
        let list = format!("6.6.6.6, {last}");
        assert_eq!(network(&ForwardedFor::trusted(1), X_FORWARDED_FOR, &[&list]), "-", "{list}");
        let list = format!("for=6.6.6.6, for=\"{last}\"");
        assert_eq!(network(&Forwarded::trusted(1), FORWARDED, &[&list]), "-", "{list}");
    }
    assert_eq!(network(&ForwardedFor::trusted(1), X_FORWARDED_FOR, &["6.6.6.6,"]), "-");
    assert_eq!(network(&ForwardedFor::trusted(1), X_FORWARDED_FOR, &["6.6.6.6", ""]), "-");
    assert_eq!(network(&Forwarded::trusted(1), FORWARDED, &["for=6.6.6.6, proto=https"]), "-");
    assert_eq!(network(&Forwarded::trusted(1), FORWARDED, &["for=6.6.6.6,"]), "-");
}

#[test]
fn addresses_are_read_in_all_their_forms() {
    for (node, client) in [
        ("203.0.113.9", "203.0.113.9/32"),
        ("203.0.113.9:1", "203.0.113.9/32"),
        ("203.0.113.9:65535", "203.0.113.9/32"),
        ("203.0.113.9:_x7.-Gk", "203.0.113.9/32"),
        ("2001:db8::1", "2001:db8::/64"),
        ("[2001:db8::1]", "2001:db8::/64"),
        ("[2001:db8::1]:4711", "2001:db8::/64"),
        ("[2001:DB8:0:0:ffff::1]:_port", "2001:db8::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9/32"),
        ("[::ffff:203.0.113.9]:80", "203.0.113.9/32"),
        ("64:ff9b::203.0.113.9", "203.0.113.9/32"),
        ("::1", "::/64"),
        ("[203.0.113.9]", "-"),
        ("203.0.113.9:654321", "-"),
        ("203.0.113.9:8o", "-"),
        ("203.0.113.9:_", "-"),
        ("203.0.113.9:80:80", "-"),
        ("[2001:db8::1]4711", "-"),
        ("[2001:db8::1]:", "-"),
        ("2001:80", "-"),
        ("::1]", "-"),
    ] {
        assert_eq!(network(&ForwardedFor::trusted(1), X_FORWARDED_FOR, &[node]), client, "{node}");
        let quoted = format!("for=\"{node}\"");
        assert_eq!(network(&Forwarded::trusted(1), FORWARDED, &[&quoted]), client, "{quoted}");
    }
}

#[test]
fn forwarded_is_read_as_its_grammar_has_it() {
    for (element, client) in [
        ("For=203.0.113.9", "203.0.113.9/32"),
        ("FOR=203.0.113.9;proto=http;by=203.0.113.43", "203.0.113.9/32"),
        ("proto=http; by=203.0.113.43 ; for=203.0.113.9", "203.0.113.9/32"),
        (";;for=203.0.113.9;", "203.0.113.9/32"),
        (r#"host="a,b;for=6.6.6.6";for=203.0.113.9"#, "203.0.113.9/32"),
        (r#"host="a\",for=6.6.6.6";for=203.0.113.9"#, "203.0.113.9/32"),
        (r#"host="\\";for=203.0.113.9"#, "203.0.113.9/32"),
        (r#"for=203.0.113.9;host="\\\",for=6.6.6.6""#, "203.0.113.9/32"),
        (r#"for=203.0.113.9;host="a, b""#, "203.0.113.9/32"),
        (r#"for="203.0.113.9";host="""#, "203.0.113.9/32"),
        ("for=203.0.113.9;for=6.6.6.6", "-"),
        ("for=203.0.113.9;FOR=203.0.113.9", "-"),
        ("forged=203.0.113.9", "-"),
        ("for", "-"),
        ("for=", "-"),
        ("for=\"", "-"),
        ("for=\"203.0.113.9", "-"),
        ("for=203.0.113.9\"", "-"),
        ("for=\"203.0.113.9\"x", "-"),
        (r#"for="203.0.113\.9""#, "-"),
        ("203.0.113.9", "-"),
    ] {
        assert_eq!(network(&Forwarded::trusted(1), FORWARDED, &[element]), client, "{element}");
    }
}

#[test]
fn the_prefix_of_ipv6_can_be_chosen_and_ipv4_stays_single() {
    let lines = ["2001:db8:1:2ff::1"];
    for (bits, client) in [
        (1, "::/1"),
        (56, "2001:db8:1:200::/56"),
        (64, "2001:db8:1:2ff::/64"),
        (127, "2001:db8:1:2ff::/127"),
        (128, "2001:db8:1:2ff::1/128"),
    ] {
        let by = ForwardedFor::trusted(1).ipv6_prefix(bits).unwrap();
        assert_eq!(network(&by, X_FORWARDED_FOR, &lines), client);
        assert_eq!(network(&by, X_FORWARDED_FOR, &["::ffff:203.0.113.9"]), "203.0.113.9/32");
        let by = Forwarded::trusted(1).ipv6_prefix(bits).unwrap();
        assert_eq!(network(&by, FORWARDED, &["for=\"[2001:db8:1:2ff::1]\""]), client);
        let mut request = Request::new(());
        request.extensions_mut().insert(SocketAddr::from(([0x2001, 0xdb8, 1, 0x2ff, 0, 0, 0, 1], 80)));
        let Some(ClientKey::Network(network)) = told(&Peer::new().ipv6_prefix(bits).unwrap(), &request) else {
            panic!()
        };
        assert_eq!(network.to_string(), client);
        assert_eq!(network.prefix(), bits);
    }
    for bits in [0, 129, u8::MAX] {
        assert_eq!(ForwardedFor::trusted(1).ipv6_prefix(bits).unwrap_err().field(), "ipv6_prefix");
        assert!(Forwarded::trusted(1).ipv6_prefix(bits).is_err());
        assert!(Peer::new().ipv6_prefix(bits).is_err());
    }
    assert_eq!(Network::of(Ipv6Addr::LOCALHOST.into(), 255).to_string(), "::1/128");
    assert_eq!(Network::of(Ipv6Addr::LOCALHOST.into(), 0).address(), Ipv6Addr::UNSPECIFIED);
}

#[test]
fn a_peer_is_known_by_its_address_whatever_type_it_has() {
    struct Connection {
        remote: Option<SocketAddr>,
    }
    let by = Peer::of(|connection: &std::sync::Arc<Connection>| connection.remote);
    let with = |remote| {
        let mut request = Request::new(());
        request.extensions_mut().insert(std::sync::Arc::new(Connection { remote }));
        request
    };
    let known = with(Some(SocketAddr::from(([203, 0, 113, 9], 1))));
    assert_eq!(told(&by, &known), Some(key(Ipv4Addr::new(203, 0, 113, 9).into())));
    assert_eq!(told(&by, &with(None)), None);
    assert_eq!(told(&by, &Request::new(())), None);
    assert_eq!(told(&Peer::new(), &known), None, "there is no plain address");
    assert_eq!(told(&by.clone(), &known), told(&by, &known));
}

#[test]
fn a_bearer_is_known_by_the_whole_credential() {
    for (line, credential) in [
        ("Bearer abc.def.ghi", Some("abc.def.ghi")),
        ("bearer abc", Some("abc")),
        ("BEARER   abc  ", Some("abc")),
        ("Bearer a b", Some("a b")),
        ("Bearer\tabc", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearerabc", None),
        ("Basic abc", None),
        ("Digest abc", None),
        ("", None),
        ("B", None),
    ] {
        let request = request("authorization", &[line]);
        let expected = credential.map(|text| ClientKey::Credential(text.as_bytes()));
        assert_eq!(told(&Bearer, &request), expected, "{line}");
    }
    assert_eq!(told(&Bearer, &request("authorization", &["Bearer mine", "Bearer yours"])), None);
    assert_eq!(told(&Bearer, &Request::new(())), None);
}

#[test]
fn a_header_counts_if_it_is_there_once() {
    let by = Header::named(HeaderName::from_static("x-api-key"));
    assert_eq!(told(&by, &request("x-api-key", &[" k "])), Some(ClientKey::Header(b"k")));
    assert_eq!(told(&by, &request("x-api-key", &[b"\xff\x80"])), Some(ClientKey::Header(b"\xff\x80")));
    assert_eq!(told(&by, &request("x-api-key", &["mine", "yours"])), None);
    assert_eq!(told(&by, &request("x-api-key", &["mine", "mine"])), None);
    assert_eq!(told(&by, &request("x-api-key", &[" "])), None);
    assert_eq!(told(&by, &request("x-api", &["k"])), None);
}

#[test]
fn the_first_that_can_tell_does() {
    #[derive(Clone)]
    struct User(String);
    let by = Subject::of(|user: &User| ClientKey::Subject(user.0.as_bytes()))
        .or_else(Bearer)
        .or_else(identify_fn(|head| head.uri.query().map(|query| ClientKey::Subject(query.as_bytes()))));
    let mut request = Request::get("/?q").header("authorization", "Bearer token").body(()).unwrap();
    request.extensions_mut().insert(User("flo".to_owned()));
    assert_eq!(told(&by, &request), Some(ClientKey::Subject(b"flo")));
    request.extensions_mut().clear();
    assert_eq!(told(&by, &request), Some(ClientKey::Credential(b"token")));
    request.headers_mut().clear();
    assert_eq!(told(&by, &request), Some(ClientKey::Subject(b"q")));
    *request.uri_mut() = "/".parse().unwrap();
    assert_eq!(told(&by, &request), None);
}

#[test]
fn who_is_known_by_the_first_is_not_looked_for_by_the_second() {
    let identify = Bearer.or_else(identify_fn(|_| panic!("it is asked")));
    let known = request("authorization", &["Bearer flo"]);
    assert_eq!(told(&identify, &known), Some(ClientKey::Credential(b"flo")));
}

#[test]
fn the_same_text_in_another_place_is_another_client() {
    let keys = [
        ClientKey::Subject(b"7"),
        ClientKey::Credential(b"7"),
        ClientKey::Header(b"7"),
        ClientKey::Number(7),
        ClientKey::Unknown,
        key(Ipv4Addr::new(0, 0, 0, 7).into()),
        key(Ipv6Addr::from_bits(7).into()),
    ];
    let hash = RandomState::new();
    for (place, one) in keys.iter().enumerate() {
        for other in &keys[..place] {
            assert_ne!(one, other);
            assert_ne!(hash.hash_one(one), hash.hash_one(other), "{one:?} {other:?}");
        }
    }
}

#[test]
fn nothing_secret_is_shown() {
    let request = Request::get("/secret").header("authorization", "Bearer secret").body(()).unwrap();
    for text in [
        format!("{:?}", Head::from(&request)),
        format!("{:?}", told(&Bearer, &request)),
        format!("{:?}", ClientKey::Subject(b"secret")),
        format!("{:?}", ClientKey::Header(b"secret")),
    ] {
        assert!(!text.contains("secret") && !text.contains("115"), "{text}");
    }
    assert_eq!(format!("{:?}", key(Ipv4Addr::LOCALHOST.into())), "Network(127.0.0.1/32)");
    assert_eq!(format!("{:?}", ClientKey::Number(7)), "Number(7)");
    assert_eq!(format!("{:?}", ClientKey::Unknown), "Unknown");
}

/// Everything that looks at fields.
fn all(hops: usize) -> impl Identify {
    Bearer
        .or_else(Header::named(HeaderName::from_static("x-api-key")))
        .or_else(Forwarded::trusted(hops))
        .or_else(ForwardedFor::trusted(hops))
        .or_else(Peer::new())
}

/// What may stand in a field: no control characters but the tab.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => prop::sample::select(b"for=FOR;,\"\\[]:._- \t0123456789abcdef".to_vec()),
        1 => (0x20_u8..=0xff).prop_filter("DEL", |byte| *byte != 0x7f),
    ];
    prop::collection::vec(byte, 0..80)
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits).into())
    ]
}

/// An address as a proxy writes it.
fn node() -> impl Strategy<Value = (IpAddr, String)> {
    (ip(), prop::option::of(prop_oneof!["[0-9]{1,5}", "_[A-Za-z0-9._-]{1,8}"])).prop_map(|(ip, port)| {
        let text = match (ip, port) {
            (IpAddr::V4(ip), None) => ip.to_string(),
            (IpAddr::V4(ip), Some(port)) => format!("{ip}:{port}"),
            (IpAddr::V6(ip), None) => format!("[{ip}]"),
            (IpAddr::V6(ip), Some(port)) => format!("[{ip}]:{port}"),
        };
        (ip, text)
    })
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

/// An element as a proxy writes it: with a host that the client has chosen, before or after.
fn element() -> impl Strategy<Value = (IpAddr, String)> {
    (node(), prop::option::of("[ -~]{0,20}"), any::<bool>()).prop_map(|((ip, node), host, first)| {
        let node = format!("for={}", quoted(&node));
        let text = match host.map(|host| format!("host={}", quoted(&host))) {
            None => node,
            Some(host) if first => format!("{host};{node}"),
            Some(host) => format!("{node};{host}"),
        };
        (ip, text)
    })
}

/// Lines of a field: what the client has sent, and what each proxy has added, in a line of its own or at the end of the last.
fn lines(client: &[Vec<u8>], proxies: &[(IpAddr, String)], own_line: &[bool]) -> Vec<Vec<u8>> {
    let mut lines = client.to_vec();
    for ((_, text), own_line) in proxies.iter().zip(own_line) {
        match lines.last_mut() {
            Some(line) if !own_line => {
                line.extend_from_slice(b", ");
                line.extend_from_slice(text.as_bytes());
            }
            _ => lines.push(text.clone().into_bytes()),
        }
    }
    lines
}

proptest! {
    #[test]
    fn nothing_panics(
        authorization in prop::collection::vec(value(), 0..3),
        forwarded in prop::collection::vec(value(), 0..3),
        forwarded_for in prop::collection::vec(value(), 0..3),
        hops in prop_oneof![0_usize..5, Just(usize::MAX)],
    ) {
        let mut request = request("authorization", &authorization);
        for (name, lines) in [(FORWARDED, &forwarded), (X_FORWARDED_FOR, &forwarded_for)] {
            for line in lines {
                request.headers_mut().append(name, HeaderValue::from_bytes(line).unwrap());
            }
        }
        told(&all(hops), &request);
    }

    #[test]
    fn what_a_client_sends_changes_nothing_of_x_forwarded_for(
        client in prop::collection::vec(value(), 0..3),
        proxies in prop::collection::vec(node(), 1..4),
        own_line in prop::collection::vec(any::<bool>(), 4),
    ) {
        let request = request(X_FORWARDED_FOR, &lines(&client, &proxies, &own_line));
        prop_assert_eq!(told(&ForwardedFor::trusted(proxies.len()), &request), Some(key(proxies[0].0)));
    }

    #[test]
    fn what_a_client_sends_changes_nothing_of_forwarded(
        client in prop::collection::vec(value(), 0..3),
        proxies in prop::collection::vec(element(), 1..4),
        own_line in prop::collection::vec(any::<bool>(), 4),
    ) {
        let request = request(FORWARDED, &lines(&client, &proxies, &own_line));
        prop_assert_eq!(told(&Forwarded::trusted(proxies.len()), &request), Some(key(proxies[0].0)));
    }

    #[test]
    fn networks_are_those_with_the_same_first_bits(one: u128, flip in 0_u32..128, bits in 0_u8..=128) {
        let of = |bits_of: u128| Network::of(Ipv6Addr::from_bits(bits_of).into(), bits);
        let other = one ^ (1 << (127 - flip));
        prop_assume!(of(one).address().is_ipv6() && of(other).address().is_ipv6());
        prop_assert_eq!(of(one) == of(other), flip >= bits.into());
    }
}

#[test]
fn an_id_is_the_key_without_its_text() {
    let keys = [
        ClientKey::Subject(b"7"),
        ClientKey::Subject(b"8"),
        ClientKey::Credential(b"7"),
        ClientKey::Header(b"7"),
        ClientKey::Number(7),
        ClientKey::Unknown,
        key(Ipv4Addr::LOCALHOST.into()),
    ];
    for (place, one) in keys.iter().enumerate() {
        for (other_place, other) in keys.iter().enumerate() {
            assert_eq!(ClientId::from(*one) == ClientId::from(*other), place == other_place, "{one:?} {other:?}");
        }
    }
    assert_eq!(format!("{:?}", ClientId::from(ClientKey::Credential(b"secret"))), "Credential(Digest(..))");
    assert_eq!(
        ClientId::from(key(Ipv4Addr::LOCALHOST.into())),
        ClientId::Network(Network::of(Ipv4Addr::LOCALHOST.into(), 64))
    );
}
