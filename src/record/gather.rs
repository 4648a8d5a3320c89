//! Puts a value together from the numbers of its columns. Fields are found by name: new ones take their default, those
//! this version does not know are passed over.

use super::RecordError;
use super::shape::{Columns, Kind, NodeId, Shape};
use super::shred::from_hundredths;
use super::tape::unzigzag;
use crate::snapshot::Text;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// Numbers being read, each column from its start.
#[derive(Debug)]
pub(super) struct Gatherer<'a> {
    shape: &'a Shape,
    columns: &'a Columns,
    strings: &'a [Text],
    next: Vec<u32>,
}

impl<'a> Gatherer<'a> {
    pub(super) fn new(shape: &'a Shape, columns: &'a Columns, strings: &'a [Text]) -> Self {
        Self { shape, columns, strings, next: vec![0; shape.len()] }
    }

    /// The value of a node.
    pub(super) fn at(&mut self, id: NodeId) -> Value<'_, 'a> {
        Value { from: self, id }
    }

    fn number(&mut self, id: NodeId) -> Result<u64, RecordError> {
        let next = self.next.get_mut(id as usize).ok_or(RecordError::Damaged("no such node"))?;
        let number = self.columns.of(id).get(*next as usize).ok_or(RecordError::Damaged("a column is too short"))?;
        *next += 1;
        Ok(*number)
    }

    fn child(&self, id: NodeId, place: usize) -> Result<NodeId, RecordError> {
        self.shape.child(id, place).ok_or(RecordError::Damaged("no such child"))
    }

    /// The child that a number of `id` chooses.
    fn chosen(&self, id: NodeId, number: u64) -> Result<Option<NodeId>, RecordError> {
        let Some(place) = number.checked_sub(1) else { return Ok(None) };
        self.child(id, usize::try_from(place).unwrap_or(usize::MAX)).map(Some)
    }

    /// Passes over a value.
    fn skip(&mut self, id: NodeId) -> Result<(), RecordError> {
        let kind = self.shape.kind(id);
        let number = if kind.has_column() { self.number(id)? } else { 1 };
        match kind {
            Kind::Option | Kind::Enum => self.chosen(id, number)?.map_or(Ok(()), |child| self.skip(child)),
            Kind::Float if number == 1 => self.child(id, 0).and_then(|child| self.skip(child)),
            Kind::Struct | Kind::Tuple | Kind::Seq | Kind::Map => {
                for _ in 0..number {
                    for place in 0..self.shape.children(id).len() {
                        let child = self.child(id, place)?;
                        self.skip(child)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// One value, not yet read.
pub(super) struct Value<'g, 'a> {
    from: &'g mut Gatherer<'a>,
    id: NodeId,
}

impl<'de> Deserializer<'de> for Value<'_, '_> {
    type Error = RecordError;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RecordError> {
        let Self { from, id } = self;
        let kind = from.shape.kind(id);
        let number = if kind.has_column() { from.number(id)? } else { 0 };
        match kind {
            Kind::Unit => visitor.visit_unit(),
            Kind::Bool => visitor.visit_bool(number != 0),
            Kind::UInt => visitor.visit_u64(number),
            Kind::Int => visitor.visit_i64(number.cast_signed()),
            Kind::Float if number == 1 => {
                let bits = from.child(id, 0)?;
                visitor.visit_f64(f64::from_bits(from.number(bits)?))
            }
            Kind::Float => visitor.visit_f64(from_hundredths(unzigzag(number >> 1).cast_signed())),
            Kind::Text => {
                let place = usize::try_from(number).unwrap_or(usize::MAX);
                visitor.visit_str(from.strings.get(place).ok_or(RecordError::Damaged("no such text"))?)
            }
            Kind::Option => match from.chosen(id, number)? {
                None => visitor.visit_none(),
                Some(id) => visitor.visit_some(Value { from, id }),
            },
            Kind::Enum => {
                let id = from.chosen(id, number)?.ok_or(RecordError::Damaged("no such variant"))?;
                visitor.visit_enum(Variant { from, id })
            }
            Kind::Struct => visitor.visit_map(Items { from, id, left: 0, place: 0 }),
            Kind::Tuple => {
                let left = from.shape.children(id).len();
                visitor.visit_seq(Items { from, id, left, place: 0 })
            }
            Kind::Seq => {
                let left = usize::try_from(number).unwrap_or(usize::MAX);
                visitor.visit_seq(Items { from, id, left, place: 0 })
            }
            Kind::Map => {
                let left = usize::try_from(number).unwrap_or(usize::MAX);
                visitor.visit_map(Pairs { from, id, left })
            }
        }
    }

    /// A field that became optional after it was recorded is there.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RecordError> {
        if self.from.shape.kind(self.id) == Kind::Option {
            return self.deserialize_any(visitor);
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, RecordError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RecordError> {
        self.from.skip(self.id)?;
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}

/// The fields of a struct, or the elements of a tuple or sequence.
struct Items<'g, 'a> {
    from: &'g mut Gatherer<'a>,
    id: NodeId,
    /// Elements that are left; of a struct the place says it.
    left: usize,
    /// The child that is next: always the first of a sequence.
    place: usize,
}

impl<'de> MapAccess<'de> for Items<'_, '_> {
    type Error = RecordError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, RecordError> {
        let Some(field) = self.from.shape.child(self.id, self.place) else { return Ok(None) };
        let label = self.from.shape.node(field).map_or("", |node| &*node.label);
        let label: StrDeserializer<'_, RecordError> = label.into_deserializer();
        seed.deserialize(label).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, RecordError> {
        let id = self.from.child(self.id, self.place)?;
        self.place += 1;
        seed.deserialize(Value { from: self.from, id })
    }
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = RecordError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, RecordError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let id = self.from.child(self.id, self.place)?;
        self.place += usize::from(self.from.shape.kind(self.id) == Kind::Tuple);
        seed.deserialize(Value { from: self.from, id }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The pairs of a map.
struct Pairs<'g, 'a> {
    from: &'g mut Gatherer<'a>,
    id: NodeId,
    left: usize,
}

impl<'de> MapAccess<'de> for Pairs<'_, '_> {
    type Error = RecordError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, RecordError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let id = self.from.child(self.id, 0)?;
        seed.deserialize(Value { from: self.from, id }).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, RecordError> {
        let id = self.from.child(self.id, 1)?;
        seed.deserialize(Value { from: self.from, id })
    }
}

/// A variant of an enum: the child that was chosen.
struct Variant<'g, 'a> {
    from: &'g mut Gatherer<'a>,
    id: NodeId,
}

impl<'de, 'g, 'a> EnumAccess<'de> for Variant<'g, 'a> {
    type Error = RecordError;
    type Variant = Value<'g, 'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Value<'g, 'a>), RecordError> {
        let label = self.from.shape.node(self.id).map_or("", |node| &*node.label);
        let label: StrDeserializer<'_, RecordError> = label.into_deserializer();
        Ok((seed.deserialize(label)?, Value { from: self.from, id: self.id }))
    }
}

impl<'de> VariantAccess<'de> for Value<'_, '_> {
    type Error = RecordError;

    fn unit_variant(self) -> Result<(), RecordError> {
        self.from.skip(self.id)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, RecordError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, RecordError> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, RecordError> {
        self.deserialize_any(visitor)
    }
}
