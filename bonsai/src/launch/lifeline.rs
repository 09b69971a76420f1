//! No orphans: a service ends when its supervisor does, however that ended.
//!
//! The supervisor puts its pid into a variable; a program of ours that finds it there asks the kernel for SIGKILL at its
//! parent's death: nobody is left who would wait for it to drain, and nothing acknowledged is lost by it. The parent may
//! have died before the question: then the parent is another one already, and the program ends at once. Where the kernel
//! has no such service (it is Linux's), the next `bonsai up` or `bonsai down` finds the processes in `DIR/state.json`.
//!
//! The kernel watches the *thread* that started the child, so a supervisor starts its children from its main thread.

pub const VARIABLE: &str = "LAUNCHER_PID";

/// To be called first thing in `main`, while there is one thread only.
#[cfg(target_os = "linux")]
pub fn hold() {
    let Some(supervisor) = std::env::var(VARIABLE).ok().and_then(|value| value.parse::<i32>().ok()) else {
        return;
    };
    let asked = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if asked.is_ok() && parent != Some(supervisor) {
        errln!("error: the launcher that started this is gone");
        std::process::exit(1);
    }
}

#[cfg(not(target_os = "linux"))]
pub fn hold() {}
