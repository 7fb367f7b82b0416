//! A history written down as a plan: it stays what it was, whatever another version makes of its seed.

use serde::{Deserialize, Serialize};

use crate::plan::Plan;

/// A plan that broke something, in JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'static"))]
pub struct Case {
    /// What went wrong, in words.
    pub what: String,
    /// The invariant that it broke.
    pub broke: String,
    /// What was planned.
    pub plan: Plan,
}

/// What an invariant is called that a verdict names.
pub fn name_of(broken: &str) -> &str {
    broken.split(':').next().unwrap_or_default()
}

impl Case {
    /// The case of a plan and its verdict.
    pub fn of(plan: &Plan, broken: &str) -> Self {
        Self { what: broken.to_owned(), broke: name_of(broken).to_owned(), plan: plan.clone() }
    }

    /// As a person reads and edits it.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap()
    }

    /// Reads a case's text, which stays in memory to the end: the plan's names are borrowed from it.
    ///
    /// # Errors
    /// If that is no case.
    pub fn of_text(text: String) -> serde_json::Result<Self> {
        serde_json::from_str(text.leak())
    }
}
