//! Any snapshot at all, for a property: whatever its types can hold is made of random bytes, by the same `Deserialize`
//! that reads recordings; so a field that is new is tried at once. No bytes, no content: proptest shrinks well.

use super::{Header, Log, Reader, RecordError, Writer};
use crate::snapshot::Snapshot;
use proptest::prelude::*;
use serde::Deserialize as _;
use serde::de::value::{StrDeserializer, U32Deserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// What decides.
struct Dice<'b>(&'b [u8]);

/// Names that a hostile process gives itself, and a few that rows share.
const TEXTS: &[&str] = &[
    "",
    "java",
    "eth0",
    "a",
    "\u{1b}]0;title\u{7}\u{1b}[2J",
    "line\nline\r\ttab",
    "nul\0inside",
    "\u{202e}right to left",
    "größer 日本語 👩‍👩‍👧",
    "\u{fffd}\u{fffd}",
];
const FLOATS: &[f64] = &[
    0.0,
    -0.0,
    0.25,
    99.99,
    1.0 / 3.0,
    1e300,
    f64::MIN_POSITIVE,
    f64::MAX,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    45_035_996_273_704.97,
];

impl Dice<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    /// Small ones, so that rows meet again, and extreme ones.
    fn number(&mut self) -> u64 {
        match self.byte() % 8 {
            0 | 1 => u64::from(self.byte() % 4),
            2 => u64::from(self.byte()),
            3 => u64::MAX - u64::from(self.byte()),
            4 => i64::MAX.unsigned_abs() + u64::from(self.byte()),
            5 => u64::from(u32::MAX) + u64::from(self.byte()),
            6 => 1 << (self.byte() % 64),
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    fn text(&mut self) -> String {
        match self.byte() % 4 {
            0 | 1 => self.one_of(TEXTS).to_owned(),
            2 => "long ".repeat(usize::from(self.byte()) * 8),
            _ => String::from_utf8_lossy(&std::array::from_fn::<u8, 6, _>(|_| self.byte())).into_owned(),
        }
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $int:ty),*) => {$(
        #[expect(clippy::allow_attributes, reason = "not every width loses something")]
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "any number is a good one")]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RecordError> {
            visitor.$visit(self.number() as $int)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Dice<'_> {
    type Error = RecordError;

    fn is_human_readable(&self) -> bool {
        false
    }

    whole_numbers!(deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64, deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64);

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RecordError> {
        visitor.visit_bool(self.byte() % 2 == 1)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RecordError> {
        let bits = self.byte() % 4 == 3;
        visitor.visit_f64(if bits { f64::from_bits(self.number()) } else { self.one_of(FLOATS) })
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RecordError> {
        visitor.visit_char(self.one_of(&['a', 'R', '\u{1b}', 'ß', '👩']))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RecordError> {
        visitor.visit_string(self.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RecordError> {
        visitor.visit_string(self.text())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RecordError> {
        if self.byte() % 2 == 1 { visitor.visit_some(self) } else { visitor.visit_none() }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, RecordError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RecordError> {
        let left = usize::from(self.byte() % 5);
        visitor.visit_seq(Several { dice: self, left, fields: None })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, RecordError> {
        visitor.visit_seq(Several { dice: self, left, fields: None })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RecordError> {
        let left = usize::from(self.byte() % 5);
        visitor.visit_map(Several { dice: self, left, fields: None })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RecordError> {
        visitor.visit_map(Several { dice: self, left: fields.len(), fields: Some(fields) })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RecordError> {
        let chosen = u32::from(self.byte()) % u32::try_from(variants.len()).unwrap();
        visitor.visit_enum(Chosen { dice: self, chosen })
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, RecordError> {
        Err(RecordError::Shape("a type that does not say what it is"))
    }

    serde::forward_to_deserialize_any! {
        i128 u128 f32 bytes byte_buf unit unit_struct tuple_struct identifier ignored_any
    }
}

/// Elements, pairs, or the fields of a struct.
struct Several<'d, 'b> {
    dice: &'d mut Dice<'b>,
    left: usize,
    fields: Option<&'static [&'static str]>,
}

impl<'de> SeqAccess<'de> for Several<'_, '_> {
    type Error = RecordError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, RecordError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.dice).map(Some)
    }
}

impl<'de> MapAccess<'de> for Several<'_, '_> {
    type Error = RecordError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, RecordError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let Some(fields) = self.fields else { return seed.deserialize(&mut *self.dice).map(Some) };
        let name: StrDeserializer<'_, RecordError> = fields[fields.len() - 1 - self.left].into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, RecordError> {
        seed.deserialize(&mut *self.dice)
    }
}

/// A variant, by its number.
struct Chosen<'d, 'b> {
    dice: &'d mut Dice<'b>,
    chosen: u32,
}

impl<'de, 'd, 'b> EnumAccess<'de> for Chosen<'d, 'b> {
    type Error = RecordError;
    type Variant = &'d mut Dice<'b>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, &'d mut Dice<'b>), RecordError> {
        let number: U32Deserializer<RecordError> = self.chosen.into_deserializer();
        Ok((seed.deserialize(number)?, self.dice))
    }
}

impl<'de> VariantAccess<'de> for &mut Dice<'_> {
    type Error = RecordError;

    fn unit_variant(self) -> Result<(), RecordError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, RecordError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, RecordError> {
        self.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RecordError> {
        self.deserialize_struct("", fields, visitor)
    }
}

fn snapshot(bytes: &[u8]) -> Snapshot {
    Snapshot::deserialize(&mut Dice(bytes)).unwrap()
}

/// `then` with some of its parts shared with `before`, as those of a slow lane are.
fn with_some_of(mut then: Snapshot, before: &Snapshot, kept: u8) -> Snapshot {
    macro_rules! keep {
        ($($bit:literal $part:ident),*) => {$(
            if kept >> $bit & 1 == 1 {
                then.$part = before.$part.clone();
            }
        )*};
    }
    keep!(0 host, 1 tasks, 2 sockets, 3 net, 4 cgroups, 5 memory, 6 slab, 7 klog);
    then
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_snapshots_are_read_as_they_were_written(
        looks in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..3000), any::<u8>()), 1..5),
    ) {
        let mut writer = Writer::with_base(Vec::new()).unwrap();
        let mut written: Vec<Snapshot> = Vec::new();
        for (bytes, kept) in &looks {
            let before = written.last().cloned().unwrap_or_default();
            let look = with_some_of(snapshot(bytes), &before, *kept);
            writer.push(&look, None).unwrap();
            written.push(look);
        }
        let (mut log, mut file) = Log::new(&Header::default()).unwrap();
        for frame in writer.into_sink() {
            file.extend(log.append(&frame).unwrap());
        }
        let mut cursor = Reader::from_bytes(file).unwrap().start().unwrap();
        for look in &written {
            let read = cursor.next_snapshot().unwrap().unwrap();
            // NaN is not equal to itself, but told the same.
            prop_assert_eq!(format!("{read:?}"), format!("{look:?}"));
        }
        prop_assert!(cursor.next_snapshot().unwrap().is_none());
        prop_assert_eq!(cursor.gaps(), &[]);
    }
}

#[test]
fn no_part_stays_empty_when_there_are_bytes() {
    // Multiplying spreads the counter over all values.
    let full = (0..400_u32).map(|n| {
        let bytes: Vec<u8> = (0..40_000_u32).map(|i| ((i + n * 977).wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        snapshot(&bytes)
    });
    let mut rows = [false; 7];
    for snap in full {
        let found = [
            snap.tasks.data().is_some_and(|d| d.rows.len() > 2),
            snap.sockets.data().is_some_and(|d| !d.groups.is_empty()),
            snap.net.data().is_some_and(|d| !d.netns.is_empty()),
            snap.cgroups.data().is_some_and(|d| !d.rows.is_empty()),
            snap.slab.data().is_some_and(|d| !d.rows.is_empty()),
            snap.klog.data().is_some_and(|d| !d.events.is_empty()),
            snap.detail.is_some(),
        ];
        rows.iter_mut().zip(found).for_each(|(all, one)| *all |= one);
    }
    assert_eq!(rows, [true; 7]);
}
