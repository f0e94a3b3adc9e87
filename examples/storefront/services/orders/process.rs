//! The orders service as a process of its own, which can be killed.

use super::{Orders, Settings};
use mainstay::BoxError;
use std::{
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

/// How long a process may take to stop.
const GRACE: Duration = Duration::from_secs(5);

/// The service in another process, as seen from here. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Apart {
    pub(crate) address: SocketAddr,
    settings: Settings,
    process: Mutex<Process>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    /// Once it is closed the process stops, also if nobody here can tell it to any more.
    lifeline: Option<ChildStdin>,
}

impl Apart {
    pub(crate) async fn start(settings: Settings) -> Result<Self, BoxError> {
        let (address, process) = Process::start(settings.clone()).await?;
        let settings = Settings { port: address.port(), ..settings };
        Ok(Self { address, settings, process: Mutex::new(process) })
    }

    /// Kills the process (SIGKILL), and starts another one at the same port, with the same files.
    pub(crate) async fn kill_and_restart(&self) -> Result<(), BoxError> {
        self.process().kill()?;
        let (_, process) = Process::start(self.settings.clone()).await?;
        *self.process() = process;
        Ok(())
    }

    /// Lets the process stop by itself.
    pub(crate) async fn close(self) {
        drop(self.process().lifeline.take());
        let start = Instant::now();
        while start.elapsed() < GRACE && matches!(self.process().child.try_wait(), Ok(None)) {
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// The address is the first thing that the process says.
    async fn start(settings: Settings) -> Result<(SocketAddr, Self), BoxError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--service", "orders", "--settings", &serde_json::to_string(&settings)?]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C is for the shop, which then stops its services.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or("the process has no output")?;
        let process = Self { lifeline: child.stdin.take(), child };
        let line = spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let address = line.await??.trim().parse().map_err(|_| "the orders service did not start")?;
        Ok((address, process))
    }

    fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended is not killed; its end is known already.
        let _ = self.kill();
    }
}

/// What the other process does: serves until its input ends.
pub(crate) async fn serve(settings: &str) -> Result<(), BoxError> {
    let orders = Orders::open(&serde_json::from_str(settings)?).await?;
    writeln!(io::stdout(), "{}", orders.server.address)?;
    spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    orders.close().await;
    Ok(())
}
