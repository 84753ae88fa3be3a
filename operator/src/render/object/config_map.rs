//! The settings.

use std::collections::BTreeMap;

use contract::names;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

use super::owned;
use crate::render::Checked;

/// ConfigMap with `user.yaml` and, if there is one, `hook.yaml`.
pub(super) fn render(checked: &Checked) -> ConfigMap {
    let mut data = BTreeMap::from([(names::CONFIG_KEY.to_owned(), text(&checked.settings.plain))]);
    if let Some(hook) = &checked.hook {
        data.insert(names::HOOK_KEY.to_owned(), text(hook));
    }
    ConfigMap {
        metadata: owned(checked, checked.config_map.clone()),
        data: Some(data),
        ..ConfigMap::default()
    }
}

/// YAML of a value. A JSON value always has one; its JSON is YAML too.
pub(super) fn text(value: &Value) -> String {
    serde_yaml::to_string(value).unwrap_or_else(|_| value.to_string())
}
