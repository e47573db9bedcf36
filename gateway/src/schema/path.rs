//! Matches and modifiers of paths.

use serde_json::Value;

use super::{
    FieldError,
    shape::{Field, Object, Shape, join, text, wrong},
    text as texts,
};
use crate::lexical;

/// `HTTPPathMatch`.
pub(super) static MATCH: Object = Object {
    fields: &[
        Field::defaulted(
            "type",
            Shape::OneOf(&["Exact", "PathPrefix", "RegularExpression"]),
            r#""PathPrefix""#,
        ),
        Field::defaulted("value", Shape::Text(0, 1024, texts::any), r#""/""#),
    ],
    rules: &[plain],
};

fn plain(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if text(value, "type") == Some("RegularExpression") {
        return;
    }
    if let Some(Err(why)) = text(value, "value").map(lexical::path_value) {
        wrong(errors, &join(path, "value"), why);
    }
}

/// `HTTPPathModifier`.
pub(super) static MODIFIER: Object = Object {
    fields: &[
        Field::required("type", Shape::OneOf(&["ReplaceFullPath", "ReplacePrefixMatch"])),
        Field::optional("replaceFullPath", Shape::Text(0, 1024, texts::any)),
        Field::optional("replacePrefixMatch", Shape::Text(0, 1024, texts::any)),
    ],
    rules: &[modifier],
};

fn modifier(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (kind, field) in
        [("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch")]
    {
        match (text(value, "type") == Some(kind), value.get(field).is_some()) {
            (true, false) => wrong(errors, &join(path, field), &format!("is required for type {kind}")),
            (false, true) => {
                wrong(errors, &join(path, field), &format!("may be set for type {kind} only"));
            }
            _ => {}
        }
    }
}

/// The filters that may replace the prefix that a request was matched by.
pub(super) const REPLACING: [&str; 2] = ["requestRedirect", "urlRewrite"];

/// Whether a filter replaces it, as the one of [`REPLACING`] that `by` names.
pub(super) fn replaces_prefix(filter: &Value, by: &str) -> bool {
    let modifier = filter.get(by).and_then(|filter| filter.get("path"));
    modifier.is_some_and(|modifier| modifier.get("replacePrefixMatch").is_some())
}
