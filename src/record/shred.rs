//! Takes a value apart into the numbers of its columns, and learns its shape on the way.

use super::RecordError;
use super::shape::{Columns, Kind, NodeId, Shape, Strings};
use rustc_hash::FxHasher;
use serde::Serialize;
use serde::ser::{self, Serializer};
use std::hash::Hasher;

/// What a row is known by from one sample to the next: its first fields, up to and with this one. It only helps rows
/// find the one they are told as a difference from: the file says itself which row that is.
const IDENTITY: &[(&str, &str)] = &[
    ("Task", "key"),
    ("Thread", "tid"),
    ("SockGroup", "remote_port"),
    ("Listener", "cookie"),
    ("UdpSocket", "key"),
    ("NetnsCounters", "id"),
    ("Iface", "name"),
    ("Qdisc", "handle"),
    ("SoftnetCpu", "cpu"),
    ("Cgroup", "key"),
    ("Hierarchy", "controller"),
    ("Slab", "name"),
    ("LaneCost", "name"),
];

/// Where the numbers go.
pub(super) struct Shredder<'a> {
    pub(super) shape: &'a mut Shape,
    pub(super) columns: &'a mut Columns,
    /// By sequence: what its rows are known by.
    pub(super) keys: &'a mut Columns,
    pub(super) strings: &'a mut Strings,
    /// What the row under way is known by, as far as it has been read.
    identity: Option<FxHasher>,
}

impl<'a> Shredder<'a> {
    pub(super) fn new(
        shape: &'a mut Shape,
        columns: &'a mut Columns,
        keys: &'a mut Columns,
        strings: &'a mut Strings,
    ) -> Self {
        Self { shape, columns, keys, strings, identity: None }
    }

    /// Takes `value` apart as the child `label` of `parent`.
    pub(super) fn field<T: Serialize + ?Sized>(
        &mut self,
        parent: NodeId,
        label: &'static str,
        hint: usize,
        value: &T,
    ) -> Result<(), RecordError> {
        let place = self.shape.place_of(parent, label, hint);
        let place = place.unwrap_or_else(|| self.shape.children(parent).len());
        value.serialize(Slot { to: self, parent, place, label, row_of: None })
    }

    fn put(&mut self, id: NodeId, number: u64) {
        self.columns.push(id, number);
        if let Some(identity) = &mut self.identity {
            identity.write_u64(number);
        }
    }
}

/// The place where a value goes: what stands there is known when the value says what it is.
struct Slot<'s, 'a> {
    to: &'s mut Shredder<'a>,
    parent: NodeId,
    place: usize,
    label: &'static str,
    /// The sequence that the value is a row of.
    row_of: Option<NodeId>,
}

impl<'s, 'a> Slot<'s, 'a> {
    fn node(&mut self, kind: Kind) -> Result<NodeId, RecordError> {
        let shape = &mut *self.to.shape;
        let Some(id) = shape.child(self.parent, self.place) else {
            return shape.add(self.parent, kind, self.label).ok_or(RecordError::Shape(self.label));
        };
        if shape.kind(id) == kind { Ok(id) } else { Err(RecordError::Shape(self.label)) }
    }

    fn put(mut self, kind: Kind, number: u64) -> Result<(), RecordError> {
        let id = self.node(kind)?;
        self.to.put(id, number);
        Ok(())
    }

    fn list(mut self, kind: Kind, len: Option<usize>) -> Result<List<'s, 'a>, RecordError> {
        let id = self.node(kind)?;
        if kind.has_column() {
            let len = len.ok_or(RecordError::Shape("a sequence of unknown length"))?;
            self.to.put(id, len as u64);
        }
        Ok(List { to: self.to, id, place: 0, is_tuple: kind == Kind::Tuple })
    }

    /// The place of a variant's content.
    fn variant(mut self, variant: &'static str) -> Result<Self, RecordError> {
        let id = self.node(Kind::Enum)?;
        let place = self.to.shape.place_of(id, variant, 0).unwrap_or_else(|| self.to.shape.children(id).len());
        self.to.put(id, place as u64 + 1);
        Ok(Slot { to: self.to, parent: id, place, label: variant, row_of: None })
    }

    fn fields(mut self, identity_ends_at: Option<&'static str>) -> Result<Fields<'s, 'a>, RecordError> {
        let id = self.node(Kind::Struct)?;
        let identity_of = self.row_of.zip(identity_ends_at);
        if identity_of.is_some() {
            self.to.identity = Some(FxHasher::default());
        }
        Ok(Fields { to: self.to, id, place: 0, identity_of })
    }
}

/// A sequence, tuple or map under way.
pub(super) struct List<'s, 'a> {
    to: &'s mut Shredder<'a>,
    id: NodeId,
    place: usize,
    is_tuple: bool,
}

impl List<'_, '_> {
    fn child<T: Serialize + ?Sized>(&mut self, place: usize, value: &T) -> Result<(), RecordError> {
        let row_of = (!self.is_tuple).then_some(self.id);
        value.serialize(Slot { to: self.to, parent: self.id, place, label: "", row_of })
    }

    fn next<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), RecordError> {
        let place = self.place;
        self.place += usize::from(self.is_tuple);
        self.child(place, value)
    }
}

/// A struct under way.
pub(super) struct Fields<'s, 'a> {
    to: &'s mut Shredder<'a>,
    id: NodeId,
    place: usize,
    /// The sequence that it is a row of, and the last field that it is known by.
    identity_of: Option<(NodeId, &'static str)>,
}

impl Fields<'_, '_> {
    fn next<T: Serialize + ?Sized>(&mut self, label: &'static str, value: &T) -> Result<(), RecordError> {
        self.to.field(self.id, label, self.place, value)?;
        self.place += 1;
        if let Some((seq, last)) = self.identity_of
            && last == label
            && let Some(identity) = self.to.identity.take()
        {
            self.to.keys.push(seq, identity.finish());
        }
        Ok(())
    }
}

/// Hundredths, as the kernel prints averages, where they are exact.
fn hundredths(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a number that is cut is not the same when it is put back")]
    let whole = (number * 100.0).round() as i64;
    (whole.unsigned_abs() < 1 << 52 && from_hundredths(whole).to_bits() == number.to_bits()).then_some(whole)
}

/// A number of [`hundredths`].
pub(super) fn from_hundredths(whole: i64) -> f64 {
    whole as f64 / 100.0
}

impl<'s, 'a> Serializer for Slot<'s, 'a> {
    type Ok = ();
    type Error = RecordError;
    type SerializeSeq = List<'s, 'a>;
    type SerializeTuple = List<'s, 'a>;
    type SerializeTupleStruct = List<'s, 'a>;
    type SerializeTupleVariant = List<'s, 'a>;
    type SerializeMap = List<'s, 'a>;
    type SerializeStruct = Fields<'s, 'a>;
    type SerializeStructVariant = Fields<'s, 'a>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, v: bool) -> Result<(), RecordError> {
        self.put(Kind::Bool, u64::from(v))
    }

    fn serialize_i8(self, v: i8) -> Result<(), RecordError> {
        self.serialize_i64(v.into())
    }

    fn serialize_i16(self, v: i16) -> Result<(), RecordError> {
        self.serialize_i64(v.into())
    }

    fn serialize_i32(self, v: i32) -> Result<(), RecordError> {
        self.serialize_i64(v.into())
    }

    fn serialize_i64(self, v: i64) -> Result<(), RecordError> {
        self.put(Kind::Int, v.cast_unsigned())
    }

    fn serialize_u8(self, v: u8) -> Result<(), RecordError> {
        self.serialize_u64(v.into())
    }

    fn serialize_u16(self, v: u16) -> Result<(), RecordError> {
        self.serialize_u64(v.into())
    }

    fn serialize_u32(self, v: u32) -> Result<(), RecordError> {
        self.serialize_u64(v.into())
    }

    fn serialize_u64(self, v: u64) -> Result<(), RecordError> {
        self.put(Kind::UInt, v)
    }

    fn serialize_f32(self, v: f32) -> Result<(), RecordError> {
        self.serialize_f64(v.into())
    }

    fn serialize_f64(mut self, v: f64) -> Result<(), RecordError> {
        let id = self.node(Kind::Float)?;
        if let Some(whole) = hundredths(v) {
            let zigzag = super::tape::zigzag(whole.cast_unsigned());
            self.to.put(id, zigzag << 1);
            return Ok(());
        }
        self.to.put(id, 1);
        Slot { to: self.to, parent: id, place: 0, label: "", row_of: None }.put(Kind::UInt, v.to_bits())
    }

    fn serialize_char(self, v: char) -> Result<(), RecordError> {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, v: &str) -> Result<(), RecordError> {
        let number = self.to.strings.number(v);
        self.put(Kind::Text, number)
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<(), RecordError> {
        self.collect_seq(v)
    }

    fn serialize_none(self) -> Result<(), RecordError> {
        self.put(Kind::Option, 0)
    }

    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<(), RecordError> {
        let id = self.node(Kind::Option)?;
        self.to.put(id, 1);
        value.serialize(Slot { to: self.to, parent: id, place: 0, label: "", row_of: None })
    }

    fn serialize_unit(mut self) -> Result<(), RecordError> {
        self.node(Kind::Unit).map(|_| ())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), RecordError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), RecordError> {
        self.variant(variant)?.serialize_unit()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), RecordError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), RecordError> {
        value.serialize(self.variant(variant)?)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<List<'s, 'a>, RecordError> {
        self.list(Kind::Seq, len)
    }

    fn serialize_tuple(self, len: usize) -> Result<List<'s, 'a>, RecordError> {
        self.list(Kind::Tuple, Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<List<'s, 'a>, RecordError> {
        self.list(Kind::Tuple, Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<List<'s, 'a>, RecordError> {
        self.variant(variant)?.list(Kind::Tuple, Some(len))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<List<'s, 'a>, RecordError> {
        self.list(Kind::Map, len)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'s, 'a>, RecordError> {
        let last = self.row_of.and_then(|_| IDENTITY.iter().find(|(row, _)| *row == name));
        self.fields(last.map(|(_, field)| *field))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'s, 'a>, RecordError> {
        self.variant(variant)?.fields(None)
    }
}

macro_rules! list {
    ($($of:ident :: $next:ident),*) => {$(
        impl ser::$of for List<'_, '_> {
            type Ok = ();
            type Error = RecordError;

            fn $next<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), RecordError> {
                self.next(value)
            }

            fn end(self) -> Result<(), RecordError> {
                Ok(())
            }
        }
    )*};
}

list!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

impl ser::SerializeMap for List<'_, '_> {
    type Ok = ();
    type Error = RecordError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), RecordError> {
        self.child(0, key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), RecordError> {
        self.child(1, value)
    }

    fn end(self) -> Result<(), RecordError> {
        Ok(())
    }
}

macro_rules! fields {
    ($($of:ident),*) => {$(
        impl ser::$of for Fields<'_, '_> {
            type Ok = ();
            type Error = RecordError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                label: &'static str,
                value: &T,
            ) -> Result<(), RecordError> {
                self.next(label, value)
            }

            fn skip_field(&mut self, label: &'static str) -> Result<(), RecordError> {
                Err(RecordError::Shape(label))
            }

            fn end(self) -> Result<(), RecordError> {
                Ok(())
            }
        }
    )*};
}

fields!(SerializeStruct, SerializeStructVariant);
