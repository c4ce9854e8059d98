//! Patterns with `*`: any characters, but in a path not those of the next step; `**` means those too.

/// A pattern of a path or of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(String);

impl Pattern {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether all of `text` is like this.
    pub(super) fn matches(&self, text: &str) -> bool {
        matches(self.0.as_bytes(), text.as_bytes())
    }
}

/// Goes back to the last star only, and to the last double star if that is not enough; so it takes no longer than the
/// product of both lengths.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // For each kind of star: where the pattern goes on after it, and how much of the text it has taken.
    let mut single: Option<(usize, usize)> = None;
    let mut double: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern[p..].starts_with(b"**") {
            (double, single, p) = (Some((p + 2, t)), None, p + 2);
        } else if pattern.get(p) == Some(&b'*') {
            (single, p) = (Some((p + 1, t)), p + 1);
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((after, taken)) = single.filter(|(_, taken)| text[*taken] != b'/') {
            (single, p, t) = (Some((after, taken + 1)), after, taken + 1);
        } else if let Some((after, taken)) = double {
            (double, single, p, t) = (Some((after, taken + 1)), None, after, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_in_its_step_and_two_do_not() {
        let is_like = |pattern: &str, text: &str| Pattern::new(pattern).matches(text);
        for (pattern, text) in [
            ("/a/b", "/a/b"),
            ("/a/*", "/a/b"),
            ("/a/*.py", "/a/x.y.py"),
            ("/a/*/c", "/a/b/c"),
            ("/a/**", "/a/b/c"),
            ("/a/**/z", "/a/b/c/z"),
            ("/**/b*/c", "/x/bb/y/b1/c"),
            ("*", ""),
            ("HF_*", "HF_"),
            ("/a/**/*.py", "/a/b/c.d/x.py"),
        ] {
            assert!(is_like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("/a/b", "/a/bc"),
            ("/a/*", "/a/b/c"),
            ("/a/*", "/a"),
            ("/a/*/c", "/a/b/d/c"),
            ("/a/**/z", "/a/b"),
            ("HF_*", "XHF_"),
            ("", "a"),
            ("/**/b*/c", "/x/b/y/c"),
        ] {
            assert!(!is_like(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_full_of_stars_takes_no_long_time() {
        let pattern = Pattern::new("/**a*".repeat(50) + "b");
        let begin = std::time::Instant::now();
        assert!(!pattern.matches(&"/aaaaaaaaaa".repeat(90)));
        assert!(begin.elapsed() < std::time::Duration::from_secs(5));
    }
}
