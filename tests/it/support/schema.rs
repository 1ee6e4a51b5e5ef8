//! The shapes of what is printed for programs, as `docs/schema` describes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jsonschema::{Registry, Validator};
use serde_json::Value;

/// The folder of schemas.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema")
}

/// Every schema by its name, such as `job`.
pub(crate) fn all() -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(folder()).expect("the schemas").map(|entry| entry.expect("an entry").path());
    let schemas = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    schemas
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a schema");
            let schema = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_stem().expect("a name").to_string_lossy().into_owned(), schema)
        })
        .collect()
}

/// What holds documents against the schema of this name.
pub(crate) fn validator(name: &str) -> Validator {
    let schemas = all();
    let base = |name: &str| format!("qctl:///{name}.json");
    let shared = Registry::new().add(base("shared"), schemas["shared"].clone()).and_then(|registry| registry.prepare());
    let schema = schemas.get(name).unwrap_or_else(|| panic!("there is no schema {name}"));
    jsonschema::options()
        .with_registry(&shared.expect("what is shared is a schema"))
        .with_base_uri(base(name))
        .should_validate_formats(true)
        .build(schema)
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Claims that a document has the shape of this name, and that the shape is strict: with one more key
/// anywhere it would not have it.
#[track_caller]
pub(crate) fn fits(document: &Value, name: &str) {
    let validator = validator(name);
    let errors: Vec<String> =
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name} does not describe {document}\n{}", errors.join("\n"));
    for place in objects(document, String::new()) {
        let mut larger = document.clone();
        larger.pointer_mut(&place).expect("it was found there")["one_more"] = Value::from("a key");
        assert!(!validator.is_valid(&larger), "{name} lets any key pass at {place:?}");
    }
}

/// Objects whose keys are somebody else's: names of labels, of what is wanted of an event, of variables.
const NOT_OURS: [&str; 4] = ["/labels", "/where", "/env", "/kept_env"];

/// Where objects stand whose keys are ours.
fn objects(value: &Value, place: String) -> Vec<String> {
    match value {
        Value::Object(_) if NOT_OURS.iter().any(|name| place.ends_with(name)) => Vec::new(),
        Value::Object(keys) => {
            let below =
                keys.iter().flat_map(|(key, value)| objects(value, format!("{place}/{key}"))).collect::<Vec<_>>();
            [vec![place], below].concat()
        }
        Value::Array(values) => {
            values.iter().enumerate().flat_map(|(n, value)| objects(value, format!("{place}/{n}"))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}
