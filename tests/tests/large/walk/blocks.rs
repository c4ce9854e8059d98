//! What of a document can be run, and what it says that this prints.

/// What runs a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// The one shell in which the whole document is walked through.
    Shell,
    /// A program of its own.
    Python,
    /// Likewise: a module for Node.
    JavaScript,
}

/// Lines of a document that can be run, and what they print.
#[derive(Debug)]
pub(super) struct Block {
    pub line: usize,
    pub language: Language,
    pub text: String,
    pub prints: Option<String>,
}

/// The blocks of a document that can be run. A block of `text` or `json` right after one is what it prints.
pub(super) fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = document.lines().enumerate();
    let mut is_right_after = false;
    while let Some((number, line)) = lines.next() {
        let Some(mark) = line.strip_prefix("```") else {
            is_right_after &= line.is_empty();
            continue;
        };
        let inside: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let text = inside.join("\n") + "\n";
        let language = match mark {
            "sh" => Some(Language::Shell),
            "python" => Some(Language::Python),
            "js" => Some(Language::JavaScript),
            _ => None,
        };
        match (language, mark, blocks.last_mut()) {
            (Some(language), ..) => blocks.push(Block { line: number + 1, language, text, prints: None }),
            (None, "text" | "json", Some(before)) if is_right_after => before.prints = Some(text),
            _ => {}
        }
        is_right_after = language.is_some();
    }
    blocks
}

/// Whether the text is what was announced, with anything for each `…`.
pub(super) fn is_as_said(said: &str, text: &str) -> bool {
    let pieces: Vec<&str> = said.trim_end().split('…').collect();
    let Some(mut rest) = text.trim_end().strip_prefix(pieces[0]) else { return false };
    let Some((last, between)) = pieces[1..].split_last() else { return rest.is_empty() };
    for piece in between {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn what_a_document_shows_may_leave_things_out_and_nothing_else() {
    for (said, text, is_so) in [
        ("a\nb\n", "a\nb\n", true),
        ("a", "ab", false),
        ("a…c", "abc", true),
        ("a…c", "ac", true),
        ("a…c", "abcd", false),
        ("…b…", "abc", true),
        ("a…b…c", "acb", false),
    ] {
        assert_eq!(is_as_said(said, text), is_so, "{said:?} {text:?}");
    }
    let document =
        "x\n```sh\necho a\n```\n\n```text\na\n```\n\n```toml\nb = 1\n```\n\n```js\nb\n```\nthen\n```json\n{}\n```\n";
    let found = blocks(document);
    let shown: Vec<_> = found.iter().map(|b| (b.line, b.language, b.text.as_str(), b.prints.as_deref())).collect();
    assert_eq!(shown, [(2, Language::Shell, "echo a\n", Some("a\n")), (14, Language::JavaScript, "b\n", None)]);
}
