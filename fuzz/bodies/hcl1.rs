//! Any text: no panic, and what the formatter prints reads as the same document and is stable.

const RELAXED: hcl1::Options = hcl1::Options { allow_duplicate_attributes: true };

pub fn run(text: &str) {
    let Ok(tree) = hcl1::parse_with(text, RELAXED) else { return };
    let _ = tree.blocks("path", 1);
    let json = tree.to_json();
    if let Ok(once) = hcl1::fmt(text) {
        let again = hcl1::parse_with(&once, RELAXED).expect("formatted text parses");
        assert_eq!(again.to_json(), json);
        assert_eq!(hcl1::fmt(&once).expect("formatted text formats"), once);
    }
}
