//! Runs the models with random bytes, on any toolchain: model.t. Prints TAP,
//! and the seed first: SEED in the environment makes the same run again, TRACE=1
//! prints each step.

use std::panic::{self, catch_unwind};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, process};

use libsendfd_model::{control_messages, hostile_peer};

const STEPS: usize = 40_000;
const BUFFERS: usize = 100_000;

/// xorshift64*: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 32) as usize % end
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let len = self.below(most + 1);
        (0..len).map(|_| (self.next() >> 56) as u8).collect()
    }

    /// Bytes that are mostly what control messages have.
    fn control(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.below(6) {
            let claimed = match self.below(4) {
                0 => self.below(64) as u64,
                1 => self.next(),
                _ => 16 + self.below(5) as u64 * 4,
            };
            let kind = [1, 1, 2, 4, 29][self.below(5)];
            if self.below(2) == 0 {
                bytes.extend(claimed.to_ne_bytes());
            } else {
                bytes.extend((claimed as u32).to_ne_bytes());
            }
            bytes.extend(libc::SOL_SOCKET.to_ne_bytes());
            bytes.extend(i32::to_ne_bytes(kind));
            bytes.extend(self.bytes(24));
            let word = [4, 8][self.below(2)];
            bytes.resize(bytes.len().next_multiple_of(word), 0);
        }
        bytes
    }
}

fn seed() -> u64 {
    match env::var("SEED").map(|seed| seed.parse()) {
        Ok(seed) => seed.expect("SEED is a number"),
        Err(_) => UNIX_EPOCH.elapsed().map_or(1, |now| now.as_nanos() as u64) % 1_000_000_007,
    }
}

/// Makes one run after the other until so much is done, and reports it as one test.
fn test(number: usize, name: &str, most: usize, seed: u64, run: fn(&mut Random) -> usize) -> bool {
    let start = SystemTime::now();
    let random = &mut Random(
        seed.wrapping_mul(2)
            .wrapping_add(1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15),
    );
    let passed = catch_unwind(panic::AssertUnwindSafe(|| {
        let mut done = 0;
        while done < most {
            done += run(random);
        }
        done
    }));
    let seconds = start.elapsed().map_or(0.0, |time| time.as_secs_f32());
    match passed {
        Ok(done) => println!("ok {number} - {name}: {done}\n# {seconds:.1} s"),
        Err(_) => println!("not ok {number} - {name}\n# again: SEED={seed} TRACE=1"),
    }
    passed.is_ok()
}

fn main() {
    let seed = seed();
    println!("# SEED={seed}");
    let passed = [
        test(1, "buffers of control messages", BUFFERS, seed, |random| {
            let bytes = if random.below(4) == 0 {
                random.bytes(200)
            } else {
                random.control()
            };
            control_messages::check(&bytes);
            1
        }),
        test(2, "steps of a hostile peer", STEPS, seed, |random| {
            hostile_peer::run(&random.bytes(600))
        }),
    ];
    println!("1..{}", passed.len());
    process::exit(i32::from(passed.contains(&false)));
}
