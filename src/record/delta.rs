//! One frame as the difference from the one before: where each row stood then, and by how much its numbers moved.
//!
//! ```text
//! before: 5 7 9       now: 5 8 9          moves: insert 0 skip 0 copy 1, insert 1 skip 1 copy 1
//! rows of pid         rows of pid         steps: 0 (5 is 5), 8−5 (a new row: from the row above), 0 (9 is 9)
//! ```
//!
//! Writer and reader walk the shape in the same order; what a parent's numbers say (how many, which child) is known on
//! both sides before its children are reached.

use super::RecordError;
use super::shape::{Columns, Kind, NodeId, Shape};
use super::tape::{Tape, TapeReader, put_varint, unzigzag, zigzag};
use rustc_hash::FxHashMap;
use std::ops::Range;

/// Numbers of one frame at most, as the reader sees it: 8 bytes each.
const NUMBERS_MAX: usize = 1 << 24;
const NONE: u32 = u32::MAX;

/// For every instance of a node: its number in the frame before.
#[derive(Clone, Debug)]
pub(super) enum Before {
    /// The same, of so many.
    Same(usize),
    /// By instance; [`NONE`] for a new one.
    Rows(Vec<u32>),
}

impl Before {
    fn len(&self) -> usize {
        match self {
            Self::Same(len) => *len,
            Self::Rows(rows) => rows.len(),
        }
    }

    fn get(&self, now: usize) -> Option<usize> {
        match self {
            Self::Same(_) => Some(now),
            Self::Rows(rows) => rows.get(now).filter(|row| **row != NONE).map(|row| *row as usize),
        }
    }

    /// The number that an instance's is told as a difference from: its own of the frame before, else the one above it.
    fn expected(&self, now: usize, old: &[u64], above: u64) -> u64 {
        self.get(now).and_then(|row| old.get(row)).copied().unwrap_or(above)
    }
}

fn row(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(NONE)
}

/// Where the instances of the child stood that `value` chooses.
fn chosen(before: &Before, old: &[u64], new: &[u64], value: u64) -> Before {
    if matches!(before, Before::Same(_)) && old == new {
        return Before::Same(new.iter().filter(|v| **v == value).count());
    }
    let mut rank = Vec::with_capacity(old.len());
    let mut count = 0;
    for v in old {
        rank.push(if *v == value { count } else { NONE });
        count += u32::from(*v == value);
    }
    let is = |(_, v): &(usize, &u64)| **v == value;
    let stood = |(now, _)| before.get(now).and_then(|row| rank.get(row)).copied().unwrap_or(NONE);
    Before::Rows(new.iter().enumerate().filter(is).map(stood).collect())
}

/// Finds or reads where the rows of one sequence stood.
trait Align {
    /// Adds the old number of each row `new` of the sequence `id`, whose rows were `old`.
    fn align(
        &mut self,
        id: NodeId,
        old: Range<usize>,
        new: Range<usize>,
        rows: &mut Vec<u32>,
    ) -> Result<(), RecordError>;
}

/// Where the elements of the sequences stood; both `Before` and the lengths may be hostile.
fn elements(
    align: &mut impl Align,
    id: NodeId,
    before: &Before,
    old: &[u64],
    new: &[u64],
) -> Result<Before, RecordError> {
    let len = |n: &u64| usize::try_from(*n).unwrap_or(usize::MAX);
    let total = new.iter().map(len).fold(0, usize::saturating_add);
    if total > NUMBERS_MAX {
        return Err(RecordError::Damaged("too many rows"));
    }
    let mut starts = Vec::with_capacity(old.len());
    let mut start = 0_usize;
    for n in old {
        starts.push(start);
        start += len(n);
    }
    let mut rows = Vec::with_capacity(total);
    for (now, n) in new.iter().enumerate() {
        let stood = before.get(now).and_then(|row| Some((*starts.get(row)?, len(old.get(row)?))));
        let first = rows.len();
        match stood {
            Some((start, old_len)) if old_len > 0 && *n > 0 => {
                align.align(id, start..start + old_len, first..first + len(n), &mut rows)?;
            }
            _ => rows.resize(first + len(n), NONE),
        }
    }
    let is_same = rows.len() == start && rows.iter().enumerate().all(|(now, row)| *row as usize == now);
    Ok(if is_same { Before::Same(start) } else { Before::Rows(rows) })
}

/// Rows that stay where they are.
fn in_place(old: &Range<usize>, new: Range<usize>, rows: &mut Vec<u32>) {
    let len = old.len();
    rows.extend((0..new.len()).map(|n| if n < len { row(old.start + n) } else { NONE }));
}

/// One way through the shape, for writer and reader: parents before children, and whose rows stood where.
pub(super) trait Walk<'a> {
    fn shape(&self) -> &'a Shape;
    fn columns_before(&self) -> &'a Columns;
    fn columns_now(&self) -> &Columns;
    /// Writes or reads the numbers of a node.
    fn numbers(&mut self, id: NodeId, before: &Before) -> Result<(), RecordError>;
    /// Writes or reads where the elements of a sequence stood.
    fn elements(&mut self, id: NodeId, before: &Before) -> Result<Before, RecordError>;

    /// Writes or reads one part: a child of the root.
    fn part(&mut self, id: NodeId, is_new: bool) -> Result<(), RecordError> {
        self.walk(id, &if is_new { Before::Rows(vec![NONE]) } else { Before::Same(1) })
    }

    fn walk(&mut self, id: NodeId, before: &Before) -> Result<(), RecordError> {
        let kind = self.shape().kind(id);
        if kind.has_column() {
            self.numbers(id, before)?;
        }
        if kind == Kind::Seq || kind == Kind::Map {
            let inner = self.elements(id, before)?;
            return self.children(id, &inner);
        }
        if !kind.chooses() {
            return self.children(id, before);
        }
        for (place, child) in self.shape().children(id).iter().enumerate() {
            let inner = chosen(before, self.columns_before().of(id), self.columns_now().of(id), place as u64 + 1);
            self.walk(*child, &inner)?;
        }
        Ok(())
    }

    fn children(&mut self, id: NodeId, before: &Before) -> Result<(), RecordError> {
        self.shape().children(id).iter().try_for_each(|child| self.walk(*child, before))
    }
}

/// Writes a frame.
pub(super) struct Differ<'a> {
    pub(super) shape: &'a Shape,
    pub(super) old: &'a Columns,
    pub(super) new: &'a Columns,
    pub(super) rows: Rows<'a>,
}

/// What rows are known by.
pub(super) struct Rows<'a> {
    pub(super) old: &'a Columns,
    pub(super) new: &'a Columns,
    pub(super) tape: &'a mut Tape,
}

impl<'a> Walk<'a> for Differ<'a> {
    fn shape(&self) -> &'a Shape {
        self.shape
    }

    fn columns_before(&self) -> &'a Columns {
        self.old
    }

    fn columns_now(&self) -> &Columns {
        self.new
    }

    fn numbers(&mut self, id: NodeId, before: &Before) -> Result<(), RecordError> {
        let old = self.old.of(id);
        let mut above = 0;
        for (now, number) in self.new.of(id).iter().enumerate() {
            self.rows.tape.put(number.wrapping_sub(before.expected(now, old, above)));
            above = *number;
        }
        Ok(())
    }

    fn elements(&mut self, id: NodeId, before: &Before) -> Result<Before, RecordError> {
        elements(&mut self.rows, id, before, self.old.of(id), self.new.of(id))
    }
}

impl Align for Rows<'_> {
    fn align(
        &mut self,
        id: NodeId,
        old: Range<usize>,
        new: Range<usize>,
        rows: &mut Vec<u32>,
    ) -> Result<(), RecordError> {
        let keys = self.old.of(id).get(old.clone()).zip(self.new.of(id).get(new.clone()));
        let Some((was, is)) = keys.filter(|(was, is)| was != is && !was.is_empty()) else {
            self.tape.moves.push(0);
            in_place(&old, new, rows);
            return Ok(());
        };
        let places: FxHashMap<u64, usize> = was.iter().enumerate().rev().map(|(at, key)| (*key, at)).collect();
        self.tape.moves.push(1);
        let (mut now, mut next) = (0, 0);
        while now < is.len() {
            let known = |at: usize| is.get(at).and_then(|key| places.get(key)).copied();
            let inserted = (now..is.len()).take_while(|at| known(*at).is_none()).count();
            let from = known(now + inserted).unwrap_or(next);
            let follows = |n: &usize| is.get(now + inserted + n).is_some_and(|key| was.get(from + n) == Some(key));
            let copied = (0..is.len()).take_while(follows).count();
            put_varint(&mut self.tape.moves, inserted as u64);
            put_varint(&mut self.tape.moves, zigzag((from as u64).wrapping_sub(next as u64)));
            put_varint(&mut self.tape.moves, copied as u64);
            rows.resize(rows.len() + inserted, NONE);
            rows.extend((0..copied).map(|n| row(old.start + from + n)));
            now += inserted + copied;
            next = from + copied;
        }
        Ok(())
    }
}

/// Reads a frame: fills `new`.
pub(super) struct Undiffer<'a, 'b> {
    pub(super) shape: &'a Shape,
    pub(super) old: &'a Columns,
    pub(super) new: &'a mut Columns,
    pub(super) tape: TapeReader<'b>,
    numbers: usize,
}

impl<'a, 'b> Undiffer<'a, 'b> {
    pub(super) fn new(shape: &'a Shape, old: &'a Columns, new: &'a mut Columns, tape: TapeReader<'b>) -> Self {
        Self { shape, old, new, tape, numbers: 0 }
    }
}

impl<'a> Walk<'a> for Undiffer<'a, '_> {
    fn shape(&self) -> &'a Shape {
        self.shape
    }

    fn columns_before(&self) -> &'a Columns {
        self.old
    }

    fn columns_now(&self) -> &Columns {
        self.new
    }

    fn numbers(&mut self, id: NodeId, before: &Before) -> Result<(), RecordError> {
        self.numbers += before.len();
        if self.numbers > NUMBERS_MAX {
            return Err(RecordError::Damaged("too many numbers"));
        }
        let old = self.old.of(id);
        let mut above = 0;
        for now in 0..before.len() {
            above = before.expected(now, old, above).wrapping_add(self.tape.step()?);
            self.new.push(id, above);
        }
        Ok(())
    }

    fn elements(&mut self, id: NodeId, before: &Before) -> Result<Before, RecordError> {
        elements(&mut self.tape, id, before, self.old.of(id), self.new.of(id))
    }
}

impl Align for TapeReader<'_> {
    fn align(
        &mut self,
        _: NodeId,
        old: Range<usize>,
        new: Range<usize>,
        rows: &mut Vec<u32>,
    ) -> Result<(), RecordError> {
        const WRONG: RecordError = RecordError::Damaged("rows move to nowhere");
        if self.moves.byte()? == 0 {
            in_place(&old, new, rows);
            return Ok(());
        }
        let mut next = old.start as u64;
        let mut left = new.len();
        let count = |max: usize, bytes: &mut super::tape::Bytes<'_>| {
            let count = usize::try_from(bytes.varint()?).map_err(|_| WRONG)?;
            if count <= max { Ok(count) } else { Err(WRONG) }
        };
        while left > 0 {
            let inserted = count(left, &mut self.moves)?;
            rows.resize(rows.len() + inserted, NONE);
            next = next.wrapping_add(unzigzag(self.moves.varint()?));
            let copied = count(left - inserted, &mut self.moves)?;
            let from = usize::try_from(next).map_err(|_| WRONG)?;
            let end = from.checked_add(copied).filter(|end| from >= old.start && *end <= old.end).ok_or(WRONG)?;
            if inserted + copied == 0 {
                return Err(WRONG);
            }
            rows.extend((from..end).map(row));
            next = end as u64;
            left -= inserted + copied;
        }
        Ok(())
    }
}
