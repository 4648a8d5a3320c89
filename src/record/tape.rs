//! Numbers as bytes: varints, and runs of zeros apart from what is not zero.

use super::RecordError;

const DAMAGED: RecordError = RecordError::Damaged("its numbers end too early");

/// A whole number, 7 bits a byte, low ones first.
pub(super) fn put_varint(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    into.push(number.to_le_bytes()[0]);
}

/// A step as a number that is small when the step is, either way.
pub(super) fn zigzag(step: u64) -> u64 {
    let signed = step.cast_signed();
    ((signed << 1) ^ (signed >> 63)).cast_unsigned()
}

/// The step of a number made by [`zigzag`].
pub(super) fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

/// Bytes being read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, RecordError> {
        let (first, rest) = self.0.split_first().ok_or(DAMAGED)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn varint(&mut self) -> Result<u64, RecordError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(RecordError::Damaged("a number is too long"))
    }

    /// A count that can't be above what `each` bytes of every one leave room for.
    pub(super) fn count(&mut self) -> Result<usize, RecordError> {
        let count = usize::try_from(self.varint()?).map_err(|_| DAMAGED)?;
        if count <= self.0.len() { Ok(count) } else { Err(DAMAGED) }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(DAMAGED)?;
        self.0 = rest;
        Ok(head)
    }

    /// Bytes with their length before them.
    pub(super) fn slice(&mut self) -> Result<&'a [u8], RecordError> {
        let len = self.count()?;
        self.take(len)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, RecordError> {
        std::str::from_utf8(self.slice()?).map_err(|_| RecordError::Damaged("a text is no UTF-8"))
    }
}

/// Steps being written: how many zeros, how many others, in turn; the others; and how rows moved.
#[derive(Debug, Default)]
pub(super) struct Tape {
    runs: Vec<u8>,
    steps: Vec<u8>,
    pub(super) moves: Vec<u8>,
    zeros: u64,
    others: u64,
}

impl Tape {
    pub(super) fn put(&mut self, step: u64) {
        if step == 0 {
            if self.others > 0 {
                self.end_run();
            }
            self.zeros += 1;
        } else {
            self.others += 1;
            put_varint(&mut self.steps, zigzag(step));
        }
    }

    fn end_run(&mut self) {
        put_varint(&mut self.runs, std::mem::take(&mut self.zeros));
        put_varint(&mut self.runs, std::mem::take(&mut self.others));
    }

    /// Writes all of it and is empty again.
    pub(super) fn write(&mut self, into: &mut Vec<u8>) {
        if self.others > 0 || self.zeros > 0 {
            self.end_run();
        }
        for part in [&mut self.runs, &mut self.moves, &mut self.steps] {
            put_varint(into, part.len() as u64);
            into.append(part);
        }
    }
}

/// Steps being read.
#[derive(Debug)]
pub(super) struct TapeReader<'a> {
    runs: Bytes<'a>,
    steps: Bytes<'a>,
    pub(super) moves: Bytes<'a>,
    zeros: u64,
    others: u64,
}

impl<'a> TapeReader<'a> {
    pub(super) fn new(bytes: &mut Bytes<'a>) -> Result<Self, RecordError> {
        let [runs, moves, steps] = [bytes.slice()?, bytes.slice()?, bytes.slice()?];
        Ok(Self { runs: Bytes(runs), steps: Bytes(steps), moves: Bytes(moves), zeros: 0, others: 0 })
    }

    pub(super) fn step(&mut self) -> Result<u64, RecordError> {
        while self.zeros == 0 && self.others == 0 {
            self.zeros = self.runs.varint()?;
            self.others = self.runs.varint()?;
        }
        if self.zeros > 0 {
            self.zeros -= 1;
            return Ok(0);
        }
        self.others -= 1;
        Ok(unzigzag(self.steps.varint()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_read(steps in proptest::collection::vec(prop_oneof![Just(0_u64), any::<u64>(), 0..9_u64], 0..200)) {
            let mut tape = Tape::default();
            for step in &steps {
                tape.put(*step);
            }
            let mut bytes = Vec::new();
            tape.write(&mut bytes);
            let mut reader = TapeReader::new(&mut Bytes(&bytes)).unwrap();
            let back: Vec<u64> = steps.iter().map(|_| reader.step().unwrap()).collect();
            prop_assert_eq!(back, steps);
            prop_assert!(reader.step().is_err());
        }

        #[test]
        fn reads_anything(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(mut reader) = TapeReader::new(&mut Bytes(&bytes)) {
                for _ in 0..1000 {
                    if reader.step().is_err() {
                        break;
                    }
                }
            }
        }
    }
}
