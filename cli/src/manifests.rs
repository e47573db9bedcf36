//! Manifests without a running instance: what they declare, what is wrong with them, and what follows.

use std::path::Path;

use isthmus_compiler::{Refused, Translation, translate_all};
use isthmus_control_plane::{
    files::{
        diagnostic::{Diagnostic, Severity},
        document::dynamic,
        kinds::ObjectId,
        set::Edit,
        source::{Given, read_once},
    },
    settings::Settings,
};
use isthmus_world::{Kind, ingest::DynamicObject};
use serde_json::Value;

use crate::failure::Failure;

/// What was read.
pub(crate) struct Manifests {
    settings: Settings,
    objects: Vec<(ObjectId, Value)>,
    refused: Vec<Refused>,
    /// What is wrong, errors first, in order of file and place.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Manifests {
    /// Reads directories and files. What is wrong in them is kept as diagnostics.
    ///
    /// # Errors
    /// When one of them is not there.
    pub(crate) fn read<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Result<Self, Failure> {
        let mut given = Vec::new();
        for path in paths {
            let missing = |error| Failure::Invalid(format!("{error}"));
            given.push(Given::open(path).map_err(missing)?);
        }
        let batch = read_once(given);
        let (mut objects, mut refused) = (Vec::new(), Vec::new());
        for edit in batch.edits {
            match edit {
                Edit::Upsert(id, object) => objects.push((id, object)),
                Edit::Problem { object, field, message, .. } => {
                    let object = dynamic(&object);
                    refused.extend(object.map(|object| Refused { object, field, message }));
                }
                Edit::Delete(_) => {}
            }
        }
        let mut manifests =
            Self { settings: defaults()?, objects, refused, diagnostics: batch.diagnostics };
        manifests.read_settings();
        Ok(manifests)
    }

    /// Whether nothing is wrong, but for warnings.
    pub(crate) fn are_valid(&self) -> bool {
        self.diagnostics.iter().all(|diagnostic| diagnostic.severity == Severity::Warning)
    }

    /// What follows from them. What could not be read of an object is added to the diagnostics.
    pub(crate) fn translate(&mut self) -> Translation {
        let known = self.objects.iter().filter(|(id, _)| Kind::of(&id.group, &id.kind).is_some());
        let objects =
            known.filter_map(|(_, object)| serde_json::from_value::<DynamicObject>(object.clone()).ok());
        let refused = self.refused.iter().cloned();
        let translation = translate_all(self.settings.mesh(None), objects, refused);
        for (key, problem) in &translation.problems {
            let id = ObjectId {
                group: key.kind.group().to_owned(),
                kind: key.kind.as_str().to_owned(),
                namespace: key.object.namespace.clone(),
                name: key.object.name.clone(),
            };
            self.diagnostics.push(error(id, problem.field.clone(), problem.message.clone()));
        }
        translation
    }

    fn read_settings(&mut self) {
        let Some((id, install)) = self.objects.iter().find(|(id, _)| id.kind == "MeshInstall") else {
            return;
        };
        match Settings::of(Some(install)) {
            Ok(settings) => self.settings = settings,
            Err(wrong) => self.diagnostics.push(error(id.clone(), None, wrong.to_string())),
        }
    }
}

fn defaults() -> Result<Settings, Failure> {
    Settings::of(None).map_err(|error| Failure::internal(&error))
}

/// An error that is known of an object, and not where in the files it is.
fn error(id: ObjectId, field: Option<String>, message: String) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        file: "(all files)".into(),
        place: None,
        object: Some(id),
        field,
        message,
    }
}
