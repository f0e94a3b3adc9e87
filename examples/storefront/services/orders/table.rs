//! The orders, in a file: a line for each change, on the disk before it is answered.

use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};
use tokio::sync::oneshot;

/// How an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    Created,
    Confirmed,
    Cancelled,
}

/// What stands in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderLedger {
    /// Neither confirmed nor cancelled.
    pub(crate) unsettled: usize,
    pub(crate) confirmed: usize,
    pub(crate) confirmed_cents: u64,
    pub(crate) cancelled: usize,
}

/// A line of the file: the order, how it stands from now on, and its amount.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    order: String,
    standing: Standing,
    cents: u64,
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Against(pub(super) Standing);

#[derive(Clone, Debug)]
pub(super) struct Table {
    orders: Arc<Mutex<HashMap<String, Line>>>,
    writer: mpsc::Sender<(Line, oneshot::Sender<io::Result<()>>)>,
}

impl Table {
    /// Reads what is there, and goes on from it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let mut orders = HashMap::new();
        let mut complete = 0;
        for line in BufReader::new(&file).split(b'\n') {
            // The last one may be torn: it was not answered.
            let line = line?;
            let Ok(read) = serde_json::from_slice::<Line>(&line) else { break };
            complete += line.len() as u64 + 1;
            orders.insert(read.order.clone(), read);
        }
        if complete < file.metadata()?.len() {
            file.set_len(complete)?;
        } else if complete > file.metadata()?.len() {
            file.write_all(b"\n")?;
        }
        Self::go_on(orders, Durable(file))
    }

    fn go_on(orders: HashMap<String, Line>, file: impl Write + Send + 'static) -> io::Result<Self> {
        let (writer, lines) = mpsc::channel();
        thread::Builder::new().name("orders-table".to_owned()).spawn(move || write(file, &lines))?;
        Ok(Self { orders: Arc::new(Mutex::new(orders)), writer })
    }

    /// Adds an order, unless it is there.
    pub(super) async fn create(&self, order: &str, cents: u64) -> io::Result<Result<(), Against>> {
        self.change(order, Standing::Created, cents, |known| match known {
            None => Ok(true),
            Some(Standing::Cancelled) => Err(Against(Standing::Cancelled)),
            Some(Standing::Created | Standing::Confirmed) => Ok(false),
        })
        .await
    }

    /// An order that is not there is cancelled, too: it cannot be created any more.
    pub(super) async fn cancel(&self, order: &str) -> io::Result<Result<(), Against>> {
        self.change(order, Standing::Cancelled, 0, |known| match known {
            None | Some(Standing::Created) => Ok(true),
            Some(Standing::Cancelled) => Ok(false),
            Some(Standing::Confirmed) => Err(Against(Standing::Confirmed)),
        })
        .await
    }

    pub(super) async fn confirm(&self, order: &str, cents: u64) -> io::Result<Result<(), Against>> {
        self.change(order, Standing::Confirmed, cents, |known| match known {
            None | Some(Standing::Created) => Ok(true),
            Some(Standing::Confirmed) => Ok(false),
            Some(Standing::Cancelled) => Err(Against(Standing::Cancelled)),
        })
        .await
    }

    pub(super) fn ledger(&self) -> OrderLedger {
        let mut ledger = OrderLedger::default();
        for line in self.orders().values() {
            match line.standing {
                Standing::Created => ledger.unsettled += 1,
                Standing::Cancelled => ledger.cancelled += 1,
                Standing::Confirmed => {
                    ledger.confirmed += 1;
                    ledger.confirmed_cents += line.cents;
                }
            }
        }
        ledger
    }

    /// Asks whether the change is to be made, and makes it. One whose caller has left may be on its way to the file still, and is
    /// not seen here: what comes after it says the same once more, or cancels, and is written behind it. The last line counts.
    async fn change(
        &self,
        order: &str,
        standing: Standing,
        cents: u64,
        decide: impl FnOnce(Option<Standing>) -> Result<bool, Against>,
    ) -> io::Result<Result<(), Against>> {
        let known = self.orders().get(order).map(|line| line.standing);
        match decide(known) {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(())),
            Err(against) => return Ok(Err(against)),
        }
        let line = Line { order: order.to_owned(), standing, cents };
        let (reply, written) = oneshot::channel();
        let gone = || io::Error::other("the table is closed");
        self.writer.send((line.clone(), reply)).map_err(|_| gone())?;
        written.await.map_err(|_| gone())??;
        self.orders().insert(order.to_owned(), line);
        Ok(Ok(()))
    }

    fn orders(&self) -> std::sync::MutexGuard<'_, HashMap<String, Line>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that is flushed to the disk.
struct Durable(File);

impl Write for Durable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Writes what waits at the same time together, until that fails: then nobody knows what is there, half a line perhaps, and nothing
/// may follow it. Whoever opens the file anew finds out.
fn write(mut file: impl Write, lines: &mpsc::Receiver<(Line, oneshot::Sender<io::Result<()>>)>) {
    let mut is_whole = true;
    while is_whole && let Ok(first) = lines.recv() {
        let group: Vec<_> = std::iter::once(first).chain(lines.try_iter()).collect();
        let bytes: Vec<_> = group.iter().map(|(line, _)| line).flat_map(bytes).collect();
        let written = file.write_all(&bytes).and_then(|()| file.flush());
        is_whole = written.is_ok();
        for (_, reply) in group {
            let answer = written.as_ref().map(drop).map_err(|error| io::Error::from(error.kind()));
            // Who has left will ask again.
            drop(reply.send(answer));
        }
    }
}

fn bytes(line: &Line) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(line).expect("texts and numbers have JSON");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const REFUSED: Against = Against(Standing::Cancelled);

    fn file(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("storefront-table-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[tokio::test]
    async fn an_order_is_settled_once_and_the_file_knows_it() {
        let path = file("settled");
        let table = Table::open(&path).unwrap();
        for order in ["a", "b", "c"] {
            assert_eq!(table.create(order, 500).await.unwrap(), Ok(()));
            assert_eq!(table.create(order, 500).await.unwrap(), Ok(()), "it is there");
        }
        assert_eq!(table.confirm("a", 500).await.unwrap(), Ok(()));
        assert_eq!(table.cancel("b").await.unwrap(), Ok(()));
        assert_eq!(table.cancel("d").await.unwrap(), Ok(()), "it was never there");

        assert_eq!(table.cancel("a").await.unwrap(), Err(Against(Standing::Confirmed)));
        for order in ["b", "d"] {
            assert_eq!(table.confirm(order, 500).await.unwrap(), Err(REFUSED));
            assert_eq!(table.create(order, 500).await.unwrap(), Err(REFUSED));
        }
        let ledger = OrderLedger { unsettled: 1, confirmed: 1, confirmed_cents: 500, cancelled: 2 };
        assert_eq!(table.ledger(), ledger);
        drop(table);
        assert_eq!(Table::open(&path).unwrap().ledger(), ledger);
        fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn a_torn_line_is_as_if_it_had_never_been_written() {
        let path = file("torn");
        let table = Table::open(&path).unwrap();
        for order in ["a", "b"] {
            table.create(order, 500).await.unwrap().unwrap();
        }
        let whole = fs::read(&path).unwrap();
        let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for length in second..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let table = Table::open(&path).unwrap();
            // The line break alone may be missing.
            let there = 1 + usize::from(length >= whole.len() - 1);
            assert_eq!(table.ledger().unsettled, there, "{length}");
            table.create("c", 500).await.unwrap().unwrap();
            assert_eq!(Table::open(&path).unwrap().ledger().unsettled, there + 1, "{length}");
        }
        fs::remove_file(path).unwrap();
    }

    /// A file for which there is so much room on the disk, and more as soon as somebody has noticed.
    struct Full {
        file: File,
        room: usize,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                self.room = usize::MAX;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let written = self.file.write(&bytes[..self.room.min(bytes.len())])?;
            self.room -= written;
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.file.flush()
        }
    }

    #[tokio::test]
    async fn nothing_is_written_behind_half_a_line() {
        let path = file("full");
        let first = Line { order: "a".to_owned(), standing: Standing::Created, cents: 500 };
        let disk = Full { file: File::create(&path).unwrap(), room: bytes(&first).len() + 10 };
        let table = Table::go_on(HashMap::new(), disk).unwrap();
        table.create("a", 500).await.unwrap().unwrap();
        assert_eq!(table.create("b", 500).await.unwrap_err().kind(), io::ErrorKind::StorageFull);
        table.create("c", 500).await.unwrap_err();

        let table = Table::open(&path).unwrap();
        assert_eq!(table.ledger().unsettled, 1);
        for order in ["b", "c"] {
            table.create(order, 500).await.unwrap().unwrap();
        }
        assert_eq!(Table::open(&path).unwrap().ledger().unsettled, 3);
        fs::remove_file(path).unwrap();
    }
}
