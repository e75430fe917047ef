//! Collects the nodes of a graph.

use std::ops::Range;

use crate::proto::{Attribute, Element, Graph, Node, Tensor, ValueInfo};

/// The name of a value in the graph.
pub type Name = String;

/// Nodes and constants, in the order in which they were made.
#[derive(Debug, Default)]
pub struct Nodes {
    nodes: Vec<Node>,
    constants: Vec<Tensor>,
}

impl Nodes {
    /// A node with one output.
    pub fn node(&mut self, operator: &str, inputs: &[&Name], attributes: Vec<Attribute>) -> Name {
        let output = format!("{}_{}", operator.to_lowercase(), self.nodes.len());
        self.nodes.push(Node {
            input: inputs.iter().map(|&name| name.clone()).collect(),
            output: vec![output.clone()],
            name: output.clone(),
            op_type: operator.to_owned(),
            attribute: attributes,
        });
        output
    }

    /// The same without attributes.
    pub fn op(&mut self, operator: &str, inputs: &[&Name]) -> Name {
        self.node(operator, inputs, Vec::new())
    }

    fn constant(&mut self, element: Element, shape: &[i64], raw_data: Vec<u8>) -> Name {
        let name = format!("constant_{}", self.constants.len());
        self.constants.push(Tensor { dims: shape.to_vec(), data_type: element as i32, name: name.clone(), raw_data });
        name
    }

    /// Single-precision numbers of this shape.
    pub fn floats(&mut self, values: &[f32], shape: &[i64]) -> Name {
        self.constant(Element::Float, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// Double-precision numbers of this shape.
    pub fn doubles(&mut self, values: &[f64], shape: &[i64]) -> Name {
        self.constant(Element::Double, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// Integers in a row.
    pub fn integers(&mut self, values: &[i64]) -> Name {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(Element::Int64, &[values.len() as i64], bytes)
    }

    /// A single-precision number.
    pub fn float(&mut self, value: f32) -> Name {
        self.floats(&[value], &[])
    }

    /// A double-precision number.
    pub fn double(&mut self, value: f64) -> Name {
        self.doubles(&[value], &[])
    }

    /// The value as numbers of another type.
    pub fn cast(&mut self, value: &Name, element: Element) -> Name {
        self.node("Cast", &[value], vec![Attribute::int("to", element as i64)])
    }

    /// What `operator`, a reduction, makes of the last dimension, which stays with size 1 where it is `kept`.
    pub fn over_last(&mut self, operator: &str, value: &Name, kept: bool) -> Name {
        self.over(operator, value, -1, kept)
    }

    /// The same of any dimension.
    pub fn over(&mut self, operator: &str, value: &Name, axis: i64, kept: bool) -> Name {
        let axes = self.integers(&[axis]);
        self.node(operator, &[value, &axes], vec![Attribute::int("keepdims", i64::from(kept))])
    }

    /// These columns of `[N, W]`.
    pub fn columns(&mut self, value: &Name, columns: Range<usize>) -> Name {
        let [start, end, axis] = [columns.start as i64, columns.end as i64, 1].map(|number| self.integers(&[number]));
        self.op("Slice", &[value, &start, &end, &axis])
    }

    /// A new second dimension of size 1.
    pub fn as_column(&mut self, value: &Name) -> Name {
        let axis = self.integers(&[1]);
        self.op("Unsqueeze", &[value, &axis])
    }

    /// The entries, or rows, of a table at `places [N]`.
    pub fn lookup(&mut self, table: &Name, places: &Name) -> Name {
        self.node("Gather", &[table, places], vec![Attribute::int("axis", 0)])
    }

    /// Gives a value the name under which it leaves the graph.
    pub fn name(&mut self, value: &Name, name: &str) {
        self.nodes.push(Node {
            input: vec![value.clone()],
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: "Identity".to_owned(),
            attribute: Vec::new(),
        });
    }

    /// The graph.
    pub fn finish(self, name: &str, input: ValueInfo, output: Vec<ValueInfo>) -> Graph {
        Graph { node: self.nodes, name: name.to_owned(), initializer: self.constants, input: vec![input], output }
    }
}
