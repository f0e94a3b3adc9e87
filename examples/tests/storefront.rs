//! The storefront as a person starts it: the built program, its output, its reports, and requests over TCP.
#![cfg(unix)]

use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_storefront");

fn storefront(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A directory for the reports of one test, empty at the start.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    path
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program writes text")
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.expect("there is a `kill`").success());
}

// === the experiment ===

#[test]
fn the_numbers_mean_what_they_say_whatever_the_seed() {
    for seed in ["7", "1234"] {
        let reports = directory(&format!("seed-{seed}"));
        let path = reports.to_str().expect("the path is text");
        let output =
            storefront(&["--duration", "6s", "--rate", "120", "--seed", seed, "--report", path]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));

        let report = fs::read_to_string(reports.join("report.json")).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        numbers_add_up(&report, seed);
        resilience_pays(&report, seed);
        silence_is_found_before_calls_end(&report, text(&output.stdout));
        table_shows(&report, text(&output.stdout));
        page_needs_nothing_else(&fs::read_to_string(reports.join("report.html")).unwrap(), seed);
    }
}

fn number(report: &Value, pointer: &str) -> f64 {
    report.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {pointer}: {report}"))
}

fn numbers_add_up(report: &Value, seed: &str) {
    assert_eq!(report["seed"].to_string(), seed);
    for mode in ["off", "on"] {
        let keys: Vec<_> = report[mode].as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = [
            "offered",
            "ok",
            "late",
            "refused",
            "failed",
            "goodput",
            "p50_ms",
            "p99_ms",
            "provider_calls",
            "recovery_s",
        ];
        expected.sort_unstable();
        assert_eq!(keys, expected);

        let of = |key| number(report, &format!("/{mode}/{key}"));
        assert!((of("ok") + of("late") + of("refused") + of("failed") - of("offered")).abs() < 0.5);
        assert!((of("goodput") - of("ok") / of("offered")).abs() < 1e-3);
        assert!(of("p50_ms") <= of("p99_ms") && of("p99_ms") <= 500.0);
        // 720 expected, with a standard deviation of 27: five of them.
        assert!((of("offered") - 720.0).abs() < 135.0, "{}", of("offered"));
    }
    assert_eq!(report["off"]["offered"], report["on"]["offered"], "the same customers");
}

fn resilience_pays(report: &Value, seed: &str) {
    let [off, on] = ["off", "on"].map(|mode| move |key: &str| number(report, &format!("/{mode}/{key}")));
    let [off_routes, on_routes] =
        ["off", "on"].map(|mode| move |key: &str| number(report, &format!("/details/{mode}/{key}")));

    assert!(on("goodput") > off("goodput"), "seed {seed}: {report}");
    // Half, and in longer runs much less: the circuit learns twice that the provider is sick, and a phase is about a second.
    assert!(on("provider_calls") < off("provider_calls") / 2.0, "seed {seed}: {report}");
    assert!(on("late") < off("late") / 3.0, "seed {seed}: {report}");

    // Those who only look are not touched by the outage with resilience on, and are without.
    assert!(on_routes("browse/goodput") > 0.99, "seed {seed}: {report}");
    assert!(off_routes("browse/goodput") < 0.95, "seed {seed}: {report}");

    // Refused, not failed: only a call that reached the sick provider can fail.
    assert!(off("refused") < 0.5 && on("refused") > on("failed"), "seed {seed}: {report}");
    assert!(on("failed") <= on("provider_calls"), "seed {seed}: {report}");
    assert!(on_routes("browse/refused") < 0.5, "seed {seed}: {report}");

    // One open time, which begins at the latest when a probe that was out is given up (150 ms); then the time of two good
    // probes; and the grain.
    let open_for = number(report, "/details/open_for_s");
    assert!(on("recovery_s") <= open_for + 0.15 + 0.1 + 0.25, "seed {seed}: {report}");
}

fn silence_is_found_before_calls_end(report: &Value, table: &str) {
    let phases = report.pointer("/details/script").and_then(Value::as_array).unwrap();
    let faults: Vec<_> = phases.iter().map(|phase| phase["fault"].as_str().unwrap()).collect();
    assert_eq!(faults, ["healthy", "slow", "failing", "healthy", "silent", "healthy"]);
    let silence = number(&phases[4], "/until_s") - number(&phases[4], "/from_s");

    // Both were closed when the silence began, and opened in it; what votes in flight opens no later. The 20 ms are for the
    // tasks that watch the two: on a busy machine they run when they can.
    let [opened, settled_only] =
        ["opened_after_s", "without_in_flight_s"].map(|key| number(report, &format!("/details/on/silence/{key}")));
    assert!(opened > 0.0 && opened <= settled_only + 0.02 && settled_only < silence, "{report}");

    // With resilience off there is no circuit.
    let nothing = serde_json::json!({ "opened_after_s": null, "without_in_flight_s": null });
    assert_eq!(report.pointer("/details/off/silence"), Some(&nothing));

    let cells = cells(table);
    for (name, seconds) in
        [("from the provider's silence to an open circuit", opened), ("without in-flight detection", settled_only)]
    {
        let [off, on, unit] = cells[name].as_slice() else { panic!("{name}: {table}") };
        assert_eq!((off.as_str(), unit.as_str()), ("–", "ms"), "{table}");
        assert!((on.parse::<f64>().unwrap() - seconds * 1e3).abs() < 1.0, "{name}: {table}");
    }
}

/// The lines of the table by their names.
fn cells(table: &str) -> BTreeMap<&str, Vec<String>> {
    let cells = table.lines().filter_map(|line| {
        let (name, values) = line.trim_start().split_once("  ")?;
        Some((name, values.split_whitespace().map(|value| value.replace(',', "")).collect()))
    });
    cells.collect()
}

fn table_shows(report: &Value, table: &str) {
    let cells = cells(table);
    for (name, key) in [("offered", "offered"), ("failed", "failed"), ("late, gave up", "late")] {
        assert_eq!(cells[name], [report["off"][key].to_string(), report["on"][key].to_string()], "{table}");
    }
}

fn page_needs_nothing_else(page: &str, seed: &str) {
    for outside in ["http://", "https://", "src=", "href=", "<script", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(page.contains(&format!("--duration 6s --rate 120 --seed {seed} --patience 500ms")), "how to see it again");
    // Goodput, outcomes and latency, off and on; and the circuit.
    assert_eq!(page.matches("role=\"img\"").count(), 7);
    for phase in ["slow", "failing", "silent"] {
        assert!(page.contains(&format!("text-anchor=\"middle\">{phase}</text>")), "{phase}");
    }
    assert!(page.contains(r#"<tr class="part"><th scope="row">without in-flight detection</th><td>–</td>"#));
    assert!(!page.contains("NaN") && !page.contains("inf"));
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
}

#[test]
fn ctrl_c_shows_the_table_so_far() {
    let reports = directory("interrupted");
    let path = reports.to_str().expect("the path is text");
    let mut child = storefront(&["--duration", "10m", "--rate", "50", "--report", path]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    assert!(first.contains("resilience off"), "it says what it does: {first}");
    interrupt(&child);

    let mut table = String::new();
    stdout.read_to_string(&mut table).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(table.contains("offered") && table.contains("Interrupted"), "{table}");
    assert_eq!(fs::read_dir(&reports).unwrap().count(), 0, "half a report is none");
}

// === wrong input ===

fn one_line_and_code_two(arguments: &[&str], said: &str) {
    let Output { status, stdout, stderr } = storefront(arguments).output().unwrap();
    let complaint = text(&stderr);
    assert_eq!(status.code(), Some(2), "{arguments:?}: {complaint}");
    assert_eq!(complaint.lines().count(), 1, "{arguments:?}: {complaint}");
    assert!(complaint.starts_with("error: ") && complaint.contains(said), "{arguments:?}: {complaint}");
    assert!(stdout.is_empty(), "{arguments:?}");
}

#[test]
fn wrong_input_is_one_line() {
    for (arguments, said) in [
        (&["--frobnicate"][..], "--frobnicate"),
        (&["extra"], "extra"),
        (&["--rate", "0"], "10..=2000"),
        (&["--rate", "-5"], "-5"),
        (&["--rate", "many"], "many"),
        (&["--rate"], "a value is required"),
        (&["--seed", "x"], "--seed"),
        (&["--patience", "0ms"], "200ms to 5s"),
        (&["--patience", "500"], "500ms"),
        (&["--duration", "1s"], "4s to 10m"),
        (&["--duration", "1day"], "4s to 10m"),
        (&["--port", "8080"], "--serve"),
        (&["--serve", "--port", "65536"], "65536"),
        (&["--serve", "--duration", "9s"], "--serve"),
        (&["--rate", "20", "--rate", "30"], "--rate"),
    ] {
        one_line_and_code_two(arguments, said);
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_found_before_the_run() {
    let file = directory("not-a-directory");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "a file").unwrap();
    let below = file.join("below");
    one_line_and_code_two(&["--report", below.to_str().unwrap()], "cannot write to");
    one_line_and_code_two(&["--report", file.to_str().unwrap()], "cannot write to");
    one_line_and_code_two(&["--report", ""], "--report");
    fs::remove_file(file).unwrap();
}

#[test]
fn a_port_in_use_is_found_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    one_line_and_code_two(&["--serve", "--port", &port], "in use");
}

#[test]
fn help_teaches() {
    let output = storefront(&["--help"]).output().unwrap();
    assert!(output.status.success());
    let help = text(&output.stdout);
    for word in ["--duration", "--rate", "--seed", "--patience", "--report", "--serve", "Examples:", "Exit codes:"] {
        assert!(help.contains(word), "{word}: {help}");
    }
}

// === the open shop ===

/// A shop that is open until it is dropped.
struct Shop {
    child: Child,
    stdout: BufReader<ChildStdout>,
    gateway: String,
    provider: String,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Shop {
    fn open() -> Self {
        let mut child = storefront(&["--serve"]).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (mut gateway, mut provider) = (None, None);
        while provider.is_none() {
            let mut line = String::new();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "the shop says where it is");
            let address = || Some(line.split("http://").nth(1)?.split(['/', ',']).next()?.to_owned());
            if line.contains("is open at") {
                gateway = address();
            } else if line.contains("/faults/") {
                provider = address();
            }
        }
        Self { child, stdout, gateway: gateway.unwrap(), provider: provider.unwrap() }
    }

    fn get(&self, path: &str) -> Answer {
        ask(&self.gateway, "GET", path, &[], "")
    }

    fn check_out(&self, headers: &[&str]) -> Answer {
        let headers = [headers, &["content-type: application/json"]].concat();
        ask(&self.gateway, "POST", "/checkout", &headers, r#"{"product":7,"cents":758}"#)
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own, as plain as can be.
fn ask(address: &str, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let headers: String = headers.iter().flat_map(|header| [header, "\r\n"]).collect();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();

    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let (line, fields) = head.split_once("\r\n").unwrap();
    let fields = fields.lines().filter_map(|field| field.split_once(": "));
    Answer {
        status: line.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
        body: body.to_owned(),
    }
}

/// Every error of every service has this shape.
fn is_an_error(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/json");
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    assert_eq!(body["success"], false);
    assert_eq!(body["error"]["code"], code, "{answer:?}");
    assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
    assert!(body["error"]["details"].is_object());
    assert!(body["timestamp"].as_str().is_some_and(|time| time.ends_with('Z') && time.len() == 24), "{answer:?}");
}

#[test]
fn every_service_says_that_it_is_up_and_ready() {
    let shop = Shop::open();
    for address in [&shop.gateway, &shop.provider] {
        for path in ["/health", "/ready"] {
            let answer = ask(address, "GET", path, &[], "");
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
}

#[test]
fn errors_have_one_shape_everywhere() {
    let shop = Shop::open();
    is_an_error(&shop.get("/nowhere"), 404, "not_found");
    is_an_error(&shop.get("/checkout"), 405, "method_not_allowed");
    is_an_error(&shop.get("/products/0"), 404, "no_such_product");
    is_an_error(&shop.get("/products/seven"), 404, "no_such_product");
    let json = ["content-type: application/json"];
    is_an_error(&ask(&shop.gateway, "POST", "/checkout", &json, "{"), 400, "bad_order");
    is_an_error(&ask(&shop.gateway, "POST", "/checkout", &[], "{}"), 415, "bad_order");
    is_an_error(&ask(&shop.provider, "POST", "/faults/tired", &[], ""), 404, "no_such_fault");
}

#[test]
fn a_trace_passes_through_every_hop() {
    let shop = Shop::open();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let header = format!("traceparent: {trace}");

    // The answer carries what the last service of the chain was given.
    assert_eq!(shop.check_out(&[&header]).headers["traceparent"], trace);
    let product = ask(&shop.gateway, "GET", "/products/7", &[&header], "");
    assert_eq!(product.headers["traceparent"], trace);

    // Without one the gateway begins one.
    let begun = &shop.check_out(&[]).headers["traceparent"];
    assert_eq!(begun.split('-').map(str::len).collect::<Vec<_>>(), [2, 32, 16, 2], "{begun}");
    assert_ne!(begun, &shop.check_out(&[]).headers["traceparent"]);
}

#[test]
fn customers_who_hang_up_close_the_shop_for_nobody() {
    let shop = Shop::open();
    let hang_up = |request: &str| {
        let mut stream = TcpStream::connect(&shop.gateway).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
    };
    for _ in 0..40 {
        hang_up("GET /products/7 HTTP/1.1\r\nhost: shop\r\n\r\n");
        hang_up(
            "POST /checkout HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\ncontent-length: 25\r\n\r\n{\"pr",
        );
    }
    assert_eq!(shop.get("/products/7").status, 200);
    assert_eq!(shop.get("/products/7").status, 200, "the other replica");
    assert_eq!(shop.check_out(&[]).status, 200);
}

#[test]
fn a_person_breaks_the_provider_and_heals_it() {
    let shop = Shop::open();
    let product: Value = serde_json::from_str(&shop.get("/products/7").body).unwrap();
    assert_eq!((&product["id"], &product["price_cents"]), (&7.into(), &758.into()));
    assert_eq!(shop.check_out(&[]).status, 200);

    assert_eq!(ask(&shop.provider, "POST", "/faults/failing", &[], "").status, 200);
    let failures = (0..50).map(|_| shop.check_out(&[])).take_while(|answer| answer.status == 502);
    assert_eq!(failures.inspect(|answer| is_an_error(answer, 502, "provider_failed")).count(), 4, "then it opened");

    let refused = shop.check_out(&[]);
    is_an_error(&refused, 503, "circuit_open");
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(shop.get("/products/7").status, 200);

    let metrics = shop.get("/metrics").body;
    for line in [
        r#"mainstay_circuits{circuit="payment",state="open"} 1"#,
        r#"mainstay_circuit_transitions_total{circuit="payment",to="open"} 1"#,
        r#"mainstay_circuits{circuit="payment-shadow",state="open"} 1"#,
        r#"mainstay_circuits{circuit="catalog",state="closed"} 2"#,
        r#"storefront_requests_total{route="checkout",outcome="failed"} 4"#,
        r#"storefront_requests_total{route="browse",outcome="ok"} 2"#,
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line}: {metrics}");
    }

    // Silent: a call that gets through is given up by payment, which says that nobody knows. Then all is well again.
    assert_eq!(ask(&shop.provider, "POST", "/faults/silent", &[], "").status, 200);
    let unknown = std::iter::repeat_with(|| shop.check_out(&[])).find(|answer| answer.status != 503).unwrap();
    is_an_error(&unknown, 504, "timed_out");
    assert_eq!(ask(&shop.provider, "POST", "/faults/healthy", &[], "").status, 200);
    assert!(std::iter::repeat_with(|| shop.check_out(&[])).take(100_000).any(|answer| answer.status == 200));
}

#[test]
fn ctrl_c_closes_the_open_shop() {
    let mut shop = Shop::open();
    assert_eq!(shop.get("/health").status, 200);
    interrupt(&shop.child);
    assert_eq!(shop.child.wait().unwrap().code(), Some(0));

    let mut rest = String::new();
    shop.stdout.read_to_string(&mut rest).unwrap();
    assert!(TcpStream::connect(&shop.gateway).is_err(), "nobody listens any more");
}
