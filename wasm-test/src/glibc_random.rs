//! `random()` of the GNU C library, seeded as nginx seeds it. The process id and the second in which a worker
//! began determine every value.

/// The state of `random()`: an additive feedback generator over 31 words.
#[derive(Debug, Clone)]
pub struct GlibcRandom {
    words: Vec<u32>,
    at: usize,
}

impl GlibcRandom {
    /// Seeded as nginx does it when a worker begins: process id, seconds and milliseconds.
    pub fn of_worker(process_id: u32, seconds: u32, milliseconds: u32) -> GlibcRandom {
        GlibcRandom::seeded((process_id << 16) ^ seconds ^ milliseconds)
    }

    fn seeded(seed: u32) -> GlibcRandom {
        let mut words: Vec<u32> = Vec::with_capacity(34);
        words.push(seed.max(1));
        for at in 1..31 {
            let next = 16_807 * i64::from(words[at - 1] as i32) % 2_147_483_647;
            words.push(if next < 0 { next + 2_147_483_647 } else { next } as u32);
        }
        let mut random = GlibcRandom { words, at: 0 };
        // The library does this so that similar seeds give different sequences.
        for _ in 0..310 {
            random.next();
        }
        random
    }

    /// The next value, 31 bits.
    pub fn next(&mut self) -> u32 {
        let at = self.at % 31;
        let front = (self.at + 3) % 31;
        let sum = self.words[front].wrapping_add(self.words[at]);
        self.words[front] = sum;
        self.at += 1;
        sum >> 1
    }

    /// Bytes, as ngx_wasm_module answers `random_get`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            *byte = self.next() as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_glibc_generator_is_reproduced() {
        let mut random = GlibcRandom::seeded(1);
        assert_eq!(
            [random.next(), random.next(), random.next()],
            [1_804_289_383, 846_930_886, 1_681_692_777]
        );
    }
}
