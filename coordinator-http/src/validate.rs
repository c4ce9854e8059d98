//! Bounds on what comes in, checked in one place before Redis hears of it. Every wrong field is named, not the first.

mod agent;
mod credentials;
mod job;
mod pull;
mod rules;
mod work;

use std::{borrow::Cow, fmt::Write as _};

use memchr::memchr2;
use titan_api::problem::FieldError;

use crate::error::ApiError;

/// Something that came in and may be out of bounds.
pub(crate) trait Validate {
    /// Names all that is wrong.
    fn check(&self, findings: &mut Findings);

    /// Refuses the whole if anything is wrong.
    fn validate(&self) -> Result<(), ApiError> {
        let mut findings = Findings::default();
        self.check(&mut findings);
        if findings.errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(findings.errors)) }
    }
}

/// How many wrong fields are named at most.
const MOST: usize = 32;

/// The wrong fields found so far, and where the check is.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    errors: Vec<FieldError>,
    place: String,
}

impl Findings {
    /// Refuses `field` of the current place unless `good`.
    pub(crate) fn require(&mut self, good: bool, field: &str, detail: impl FnOnce() -> String) {
        if !good && self.errors.len() < MOST {
            let pointer =
                if field.is_empty() { self.place.clone() } else { format!("{}/{}", self.place, escaped(field)) };
            self.errors.push(FieldError::new(pointer, detail()));
        }
    }

    /// Checks what is inside of `field`.
    fn inside(&mut self, field: &str, check: impl FnOnce(&mut Self)) {
        let length = self.place.len();
        self.place.push('/');
        self.place.push_str(&escaped(field));
        check(self);
        self.place.truncate(length);
    }

    /// Checks each entry of the list `field`.
    pub(crate) fn each<T>(&mut self, field: &str, entries: &[T], mut check: impl FnMut(&mut Self, &T)) {
        self.inside(field, |f| {
            let length = f.place.len();
            for (index, entry) in entries.iter().enumerate() {
                let _ = write!(f.place, "/{index}");
                check(f, entry);
                f.place.truncate(length);
            }
        });
    }
}

/// A name as a part of a JSON pointer (RFC 6901); names may come from the caller, so they are cut.
fn escaped(name: &str) -> Cow<'_, str> {
    if name.len() <= 128 && memchr2(b'~', b'/', name.as_bytes()).is_none() {
        return name.into();
    }
    name.chars().take(128).collect::<String>().replace('~', "~0").replace('/', "~1").into()
}
