//! What is done beside commits, by a thread of its own: views of POST-mode resources, shortcuts.
//!
//! The thread begins with the first chore and ends with the publisher. Without it ([`Chores::inline`]) each commit does its own before it
//! returns, so that a simulation sees the same order every time. Shortcuts to versions of before a restart are not made again: they save
//! bytes and nothing else. Invariant: no commit waits for the thread, and what
//! waits to be done has a bound.
use crate::{
    chain::{Chain, SHORTCUTS},
    edge,
};
use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

/// What waits to be done.
#[derive(Default)]
struct Due {
    views: bool,
    /// Chains whose newest version may have shortcuts to it.
    shortcuts: Vec<Arc<Chain>>,
    over: bool,
    running: bool,
}

/// At most so many chains wait for their shortcuts; more are left without, which costs readers bytes and nothing else.
const SHORTCUTS_DUE_MAX: usize = 64;

#[derive(Default)]
struct Board {
    due: Mutex<Due>,
    posted: Condvar,
}

#[derive(Default)]
pub(crate) struct Chores {
    board: Arc<Board>,
    inline: bool,
}

impl Chores {
    /// To be done by whoever commits.
    pub(crate) fn inline() -> Self {
        Self { board: Arc::default(), inline: true }
    }

    /// Does them, or has them done. `views` computes views; it says `false` when there is nothing to do it for any more.
    pub(crate) fn post<F>(&self, views_due: bool, chains: impl Iterator<Item = Arc<Chain>>, views: impl FnOnce() -> F)
    where
        F: Fn() -> bool + Send + 'static,
    {
        let chains: Vec<Arc<Chain>> = chains.filter(|chain| chain.end().0.is_multiple_of(SHORTCUTS[0])).collect();
        if !views_due && chains.is_empty() {
            return;
        }
        if self.inline {
            if views_due {
                views()();
            }
            chains.iter().for_each(|chain| shorten(chain));
            return;
        }
        let mut due = self.board.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.views |= views_due;
        let room = SHORTCUTS_DUE_MAX.saturating_sub(due.shortcuts.len());
        due.shortcuts.extend(chains.into_iter().take(room));
        if !due.running {
            let (board, views) = (self.board.clone(), views());
            // Without a thread they are not done, and readers of such views wait until there is one.
            due.running = thread::Builder::new().name("altocast-views".into()).spawn(move || run(&board, views)).is_ok();
        }
        self.board.posted.notify_one();
    }
}

impl Drop for Chores {
    fn drop(&mut self) {
        self.board.due.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.board.posted.notify_one();
    }
}

fn run(board: &Board, views: impl Fn() -> bool) {
    loop {
        let mut due = board.due.lock().unwrap_or_else(PoisonError::into_inner);
        while !due.over && !due.views && due.shortcuts.is_empty() {
            due = board.posted.wait(due).unwrap_or_else(PoisonError::into_inner);
        }
        if due.over {
            return;
        }
        let (views_due, shortcut) = (std::mem::take(&mut due.views), due.shortcuts.pop());
        drop(due);
        if views_due && !views() {
            return;
        }
        if let Some(chain) = shortcut {
            shorten(&chain);
        }
    }
}

/// Offers the shortcuts to the newest version of a chain.
fn shorten(chain: &Chain) {
    for level in 0..SHORTCUTS.len() {
        if let Some(patch) = chain.shortcut_parts(level).and_then(|parts| edge::joined(&parts)) {
            chain.offer(level, patch);
        }
    }
}
