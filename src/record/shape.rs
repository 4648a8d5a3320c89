//! The shape of what is recorded, learnt from the values themselves, and their numbers in columns.
//!
//! A value is a tree of structs, sequences and choices. Every node of its *shape* that holds a number has a column: the
//! numbers of all its instances in the order of the tree. `tasks.rows[].utime_ticks` is one column with a number a task.

use rustc_hash::FxHashMap;

/// What stands at a node, as the byte in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, no column.
    Unit = 0,
    /// 0 or 1.
    Bool = 1,
    /// A whole number.
    UInt = 2,
    /// A signed number, two's complement.
    Int = 3,
    /// Hundredths × 2 where that is exact (zig-zag), else 1 and the bits in the child.
    Float = 4,
    /// Number of a string in the table.
    Text = 5,
    /// 0 = none, 1 = the child.
    Option = 6,
    /// 1 + which child.
    Enum = 7,
    /// Its fields by name; no column.
    Struct = 8,
    /// Its fields by place; no column.
    Tuple = 9,
    /// How many of the child.
    Seq = 10,
    /// How many pairs of the two children.
    Map = 11,
}

impl Kind {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        use Kind::{Bool, Enum, Float, Int, Map, Option, Seq, Struct, Text, Tuple, UInt, Unit};
        [Unit, Bool, UInt, Int, Float, Text, Option, Enum, Struct, Tuple, Seq, Map]
            .into_iter()
            .find(|k| *k as u8 == byte)
    }

    pub(super) fn has_column(self) -> bool {
        !matches!(self, Self::Unit | Self::Struct | Self::Tuple)
    }

    /// Whether a number of the column chooses one of the children.
    pub(super) fn chooses(self) -> bool {
        matches!(self, Self::Option | Self::Enum | Self::Float)
    }
}

/// Number of a node.
pub(super) type NodeId = u32;
/// The root of every shape: a struct whose fields are the parts of a snapshot.
pub(super) const ROOT: NodeId = 0;

/// One node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Field or variant; empty where the place says it all.
    pub(super) label: Box<str>,
    pub(super) parent: NodeId,
    pub(super) children: Vec<NodeId>,
}

/// All nodes, parents before their children.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    nodes: Vec<Node>,
}

impl Default for Shape {
    fn default() -> Self {
        Self { nodes: vec![Node { kind: Kind::Struct, label: "".into(), parent: ROOT, children: Vec::new() }] }
    }
}

impl Shape {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id as usize)
    }

    pub(super) fn kind(&self, id: NodeId) -> Kind {
        self.node(id).map_or(Kind::Unit, |n| n.kind)
    }

    pub(super) fn children(&self, id: NodeId) -> &[NodeId] {
        self.node(id).map_or(&[], |n| &n.children)
    }

    /// The child at a place.
    pub(super) fn child(&self, id: NodeId, place: usize) -> Option<NodeId> {
        self.children(id).get(place).copied()
    }

    /// The place of the child with this label; `hint` is tried first.
    pub(super) fn place_of(&self, id: NodeId, label: &str, hint: usize) -> Option<usize> {
        let is = |child: &NodeId| self.node(*child).is_some_and(|n| &*n.label == label);
        let children = self.children(id);
        if children.get(hint).is_some_and(is) { Some(hint) } else { children.iter().position(is) }
    }

    /// A new last child.
    pub(super) fn add(&mut self, parent: NodeId, kind: Kind, label: &str) -> Option<NodeId> {
        let id = NodeId::try_from(self.nodes.len()).ok()?;
        self.nodes.get_mut(parent as usize)?.children.push(id);
        self.nodes.push(Node { kind, label: label.into(), parent, children: Vec::new() });
        Some(id)
    }

    /// The nodes from number `from` on.
    pub(super) fn since(&self, from: usize) -> &[Node] {
        self.nodes.get(from..).unwrap_or_default()
    }
}

/// The numbers of every node, by its number.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    columns: Vec<Vec<u64>>,
}

impl Columns {
    pub(super) fn of(&self, id: NodeId) -> &[u64] {
        self.columns.get(id as usize).map_or(&[], Vec::as_slice)
    }

    pub(super) fn push(&mut self, id: NodeId, number: u64) {
        let place = id as usize;
        if self.columns.len() <= place {
            self.columns.resize_with(place + 1, Vec::new);
        }
        if let Some(column) = self.columns.get_mut(place) {
            column.push(number);
        }
    }

    /// Takes a column's numbers from `newer`, which keeps the room for the next ones.
    pub(super) fn renew(&mut self, id: NodeId, newer: &mut Self) {
        let place = id as usize;
        let longest = self.columns.len().max(place + 1);
        self.columns.resize_with(longest, Vec::new);
        if let Some(old) = self.columns.get_mut(place) {
            old.clear();
            if let Some(new) = newer.columns.get_mut(place) {
                std::mem::swap(old, new);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.columns.iter_mut().for_each(Vec::clear);
    }
}

/// The strings of a group of frames, by number. A keyframe starts a new table.
#[derive(Debug, Default)]
pub(super) struct Strings {
    by_text: FxHashMap<Box<str>, u64>,
    new: Vec<Box<str>>,
}

impl Strings {
    pub(super) fn number(&mut self, text: &str) -> u64 {
        if let Some(number) = self.by_text.get(text) {
            return *number;
        }
        let number = self.by_text.len() as u64;
        self.by_text.insert(text.into(), number);
        self.new.push(text.into());
        number
    }

    /// The strings that came since the last call, in the order of their numbers.
    pub(super) fn take_new(&mut self) -> Vec<Box<str>> {
        std::mem::take(&mut self.new)
    }

    pub(super) fn clear(&mut self) {
        self.by_text.clear();
        self.new.clear();
    }
}
