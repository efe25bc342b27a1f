//! Child processes that end with the test, and free ports.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A child process; killed when dropped.
pub struct Process {
    pub child: Child,
}

impl Process {
    /// Starts `command`, its output in `log`.
    pub fn start(command: &mut Command, log: &Path) -> Process {
        let out = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("log file");
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("log file"))
            .stderr(out)
            .spawn()
            .unwrap_or_else(|e| panic!("{program} cannot be started ({e}); run `make parts` to install it"));
        Process { child }
    }

    /// The same, its output through a pipe: what bounds its files does not bound what it says.
    pub fn start_piped(command: &mut Command, log: &Path) -> Process {
        let open = || std::fs::OpenOptions::new().create(true).append(true).open(log).expect("log file");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let (mut out, mut err) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        let (mut to, mut beside) = (open(), open());
        std::thread::spawn(move || std::io::copy(&mut out, &mut to));
        std::thread::spawn(move || std::io::copy(&mut err, &mut beside));
        Process { child }
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port of 127.0.0.1 that was free a moment ago; each is given out once by this test process. It lies
/// below the range from which the kernel serves port 0 and connections, so that none of those can take
/// it before the program that it is for has bound it.
pub fn free_port() -> u16 {
    use std::collections::HashSet;
    use std::sync::Mutex;
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    loop {
        let port = rand::random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_err() {
            continue;
        }
        let mut given = GIVEN.lock().expect("not poisoned");
        if given.get_or_insert_default().insert(port) {
            return port;
        }
    }
}
