//! What AWS answers in XML, as JSON: a list is what has `member`s, a text is an element without others.

use roxmltree::{Document, Node};
use serde_json::{Map, Value};

/// An answer; none if it is not XML.
pub(super) fn read(body: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(body).ok()?;
    let document = Document::parse(text).ok()?;
    Some(value(document.root_element()))
}

fn value(node: Node<'_, '_>) -> Value {
    let children: Vec<Node<'_, '_>> = node.children().filter(Node::is_element).collect();
    if children.is_empty() {
        return node.text().unwrap_or_default().trim().into();
    }
    let name = |child: &Node<'_, '_>| child.tag_name().name().to_owned();
    if children.iter().all(|child| name(child) == "member") {
        return children.into_iter().map(value).collect();
    }
    let fields = children
        .into_iter()
        .map(|child| (name(&child), value(child)));
    fields.collect::<Map<String, Value>>().into()
}

/// What a refusal says of itself: `: AccessDenied: not allowed`; nothing if it says nothing.
pub(super) fn refusal(body: &[u8]) -> String {
    let Some(answer) = read(body) else {
        return String::new();
    };
    let error = &answer["Error"];
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    match (text("Code"), text("Message")) {
        (code, _) if code.is_empty() => String::new(),
        (code, message) => format!(": {code}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_texts_and_objects_are_told_apart() {
        let body =
            br#"<R xmlns="http://aws"><Result><Groups><member><Name>a</Name><Empty/></member>
            <member><Name>b</Name></member></Groups></Result><Meta><Id>1</Id></Meta></R>"#;
        let expected = json!({
            "Result": {"Groups": [{"Name": "a", "Empty": ""}, {"Name": "b"}]},
            "Meta": {"Id": "1"},
        });
        assert_eq!(read(body), Some(expected));
        assert_eq!(read(b"no"), None);
    }

    #[test]
    fn a_refusal_says_why() {
        let body = b"<E><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></E>";
        assert_eq!(refusal(body), ": AccessDenied: no");
        assert_eq!(refusal(b"<html/>"), "");
        assert_eq!(refusal(b"{}"), "");
    }
}
