//! Bytes read as choices: the same bytes make the same choices, a few bytes
//! changed make a few choices others, and when there are none left all are 0.

pub(crate) struct Choices<'b> {
    rest: &'b [u8],
}

impl<'b> Choices<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn are_over(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    /// A number from 0 to `end` - 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let number = usize::from(self.byte());
        if end <= 256 {
            number % end
        } else {
            (number << 8 | usize::from(self.byte())) % end
        }
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// A number from 0 to `most`: mostly small, and often near `most`.
    pub(crate) fn number(&mut self, most: usize) -> usize {
        match self.below(8) {
            0 => most - self.below(2),
            1 => self.below(most + 1),
            _ => self.below(6).min(most),
        }
    }

    pub(crate) fn rest(&mut self) -> &'b [u8] {
        std::mem::take(&mut self.rest)
    }
}
