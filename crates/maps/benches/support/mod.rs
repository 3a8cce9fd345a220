//! What benches share: the time of something, numbers that look random, a line on stdout.
#![allow(dead_code, reason = "each bench uses its part")]
use std::time::Instant;

/// What came of it, and milliseconds.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed().as_secs_f64() * 1e3)
}

pub fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The same numbers in every run (xorshift64*). The seed is not 0.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    pub fn below(&mut self, bound: u32) -> u32 {
        ((self.next() >> 32) % u64::from(bound)) as u32
    }
}

#[expect(clippy::print_stdout, reason = "a bench's result goes to stdout")]
pub fn say(line: &str) {
    println!("{line}");
}
