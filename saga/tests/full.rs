//! A file that may not grow: the journal says so, keeps what it has answered, and works where it need not grow.
//!
//! The limit is one of the process, set by the shell, so the journal is in a child process: this file, run again.

#![cfg(all(unix, feature = "redb"))]

mod support;

use mainstay_saga::{
    SagaId, Timestamp,
    journal::{Batch, Created, Embedded, Filter, Journal, JournalError, NewSaga, Phase},
};
use std::{env, process::Command};
use support::directory::Directory;

/// Tells the child which file it is to fill.
const FILE: &str = "MAINSTAY_SAGA_FULL_FILE";
/// How long the file may be, in the blocks of 512 bytes that `ulimit` counts, or of 1,024 in some shells.
const BLOCKS: u32 = 2_000;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn new_saga(number: u128) -> NewSaga {
    let id = SagaId::from_u128(number);
    NewSaga { id, saga: "order".into(), version: 1, key: number.to_string().into(), at: NOW }
}

fn batch(nonce: u64, phase: Phase) -> Batch {
    Batch { records: vec![vec![7; 10_000]], nonce, phase, at: NOW }
}

#[tokio::test]
#[ignore = "is run, in a process that may not write much, by the other test"]
async fn child() {
    let Some(file) = env::var_os(FILE) else { return };
    let journal = Embedded::open(file).unwrap();
    let mut made = 0;
    let full = loop {
        match journal.create(new_saga(made), batch(1, Phase::Completed)).await {
            Ok(Created::New(_)) => made += 1,
            Ok(Created::Existing(id)) => panic!("{id} is there"),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, JournalError::Full), "{full:?}");
    assert!(matches!(journal.create(new_saga(made), batch(1, Phase::Completed)).await, Err(JournalError::Full)));
    assert_eq!(journal.list(Filter::default(), None, usize::MAX).await.unwrap().len() as u128, made);
    // On a line of its own, after what the test harness has written.
    println!("\nmade {made}");
}

#[tokio::test]
async fn a_file_that_may_not_grow_is_full_and_keeps_what_it_has() {
    let directory = Directory::new("full");
    let file = directory.file("sagas.redb");
    // Who ignores the signal is told by the system call, as on a disk that is full.
    let limited = format!("trap '' XFSZ; ulimit -f {BLOCKS}; exec \"$0\" \"$@\"");
    let child = Command::new("sh")
        .args(["-c", &limited])
        .arg(env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FILE, &file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}\n{}", String::from_utf8_lossy(&child.stderr));
    let made: u128 = said.lines().find_map(|line| line.strip_prefix("made ")).unwrap().parse().unwrap();
    assert!(made > 10, "it was full after {made}");

    let journal = Embedded::open(&file).unwrap();
    for number in 0..made {
        assert_eq!(journal.load(SagaId::from_u128(number)).await.unwrap().len(), 1);
    }
    let all = journal.list(Filter::default(), None, usize::MAX).await.unwrap();
    assert_eq!(all.len() as u128, made);
    assert!(matches!(journal.create(new_saga(made), batch(1, Phase::Completed)).await, Ok(Created::New(_))));
}
