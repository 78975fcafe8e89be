//! To hcl-rs' model and its printer, for documents that have no HCL text of their own (JSON turned to HCL, generated files).

use crate::{Item, Kind, Node, Object};

impl Object {
    /// The document in hcl-rs' model. Attributes and blocks stay what they were; comments were never in the tree.
    #[must_use]
    pub fn to_body(&self) -> hcl::Body {
        let mut body = hcl::Body::builder();
        for item in &self.items {
            body = match &item.value.kind {
                Kind::Object(inner) if !item.assigned => body.add_block(block(item, inner)),
                _ => match item.key() {
                    Some(key) => body.add_attribute((hcl::Identifier::sanitized(&key.text), expression(&item.value))),
                    None => body,
                },
            };
        }
        body.build()
    }

    /// The document as HCL, by hcl-rs' printer. For text that exists use [`crate::fmt`], which keeps comments.
    pub fn to_hcl(&self) -> Result<String, hcl::Error> {
        hcl::format::to_string(&self.to_body())
    }
}

fn block(item: &Item, inner: &Object) -> hcl::Block {
    let mut names = item.keys.iter().map(|k| k.text.as_str());
    let mut block = hcl::Block::builder(hcl::Identifier::sanitized(names.next().unwrap_or("_")));
    for label in names {
        block = block.add_label(label);
    }
    block.add_structures(inner.to_body()).build()
}

fn expression(node: &Node) -> hcl::Expression {
    match &node.kind {
        Kind::Text(text) => hcl::Expression::String(text.clone()),
        Kind::Number(text) => number(text),
        Kind::Bool(b) => hcl::Expression::Bool(*b),
        Kind::Null => hcl::Expression::Null,
        Kind::List(nodes) => hcl::Expression::Array(nodes.iter().map(expression).collect()),
        Kind::Object(object) => hcl::Expression::Object(
            object
                .items
                .iter()
                .filter_map(|i| {
                    Some((hcl::ObjectKey::Expression(hcl::Expression::String(i.key()?.text.clone())), expression(&i.value)))
                })
                .collect(),
        ),
    }
}

fn number(text: &str) -> hcl::Expression {
    if let Ok(n) = text.parse::<i64>() {
        return hcl::Expression::Number(n.into());
    }
    let float = text.parse::<f64>().ok().and_then(hcl::Number::from_f64);
    float.map_or(hcl::Expression::Null, hcl::Expression::Number)
}
