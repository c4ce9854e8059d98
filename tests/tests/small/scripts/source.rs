//! Reads the scripts, their shared parts and their wrappers from the source tree.

use std::{
    fs,
    path::{Path, PathBuf},
};

use titan_tests::binaries::workspace;

use super::{code::Code, header::Header};

/// One script: an atomic operation.
pub(crate) struct Script {
    /// `agents/work`.
    pub(crate) name: String,
    pub(crate) header: Header,
    pub(crate) code: Code,
}

/// A part that scripts share.
pub(crate) struct Part {
    /// `rank`, for `lib/rank.lua`.
    pub(crate) name: String,
    pub(crate) code: Code,
}

/// A wrapper's declaration of the script that it runs: `script!(Frees, "agents/work", uses ["key", …])`.
#[derive(Debug)]
pub(crate) struct Declaration {
    /// `agents`, for `lua/src/agents/work.rs`.
    pub(crate) folder: String,
    pub(crate) script: String,
    pub(crate) uses: Vec<String>,
}

/// All scripts.
pub(crate) fn scripts() -> Vec<Script> {
    let root = workspace().join("lua/scripts");
    let files = files_below(&root, "lua").into_iter().filter(|path| !path.starts_with(root.join("lib")));
    let scripts: Vec<_> = files.map(|path| script(&root, &path)).collect();
    assert!(scripts.len() > 10, "the scripts are not where they were");
    scripts
}

/// All shared parts.
pub(crate) fn parts() -> Vec<Part> {
    let files = files_below(&workspace().join("lua/scripts/lib"), "lua");
    files.iter().map(|path| Part { name: stem(path), code: Code::new(&fs::read_to_string(path).unwrap()) }).collect()
}

/// What the wrappers declare.
pub(crate) fn declarations() -> Vec<Declaration> {
    files_below(&workspace().join("lua/src"), "rs").iter().flat_map(|path| declarations_in(path)).collect()
}

fn script(root: &Path, path: &Path) -> Script {
    let name = path.strip_prefix(root).unwrap().with_extension("").to_str().unwrap().to_owned();
    let text = fs::read_to_string(path).unwrap();
    let (header, body) = text.split_once("\n]]\n").unwrap_or_else(|| panic!("{name} has no header"));
    Script { header: Header::parse(header).unwrap_or_else(|e| panic!("{name}: {e}")), code: Code::new(body), name }
}

fn declarations_in(path: &Path) -> Vec<Declaration> {
    let text = fs::read_to_string(path).unwrap();
    let folder = stem(path.parent().unwrap());
    let calls = text.split("\nscript!(").skip(1).map(|rest| rest.split_once(");").unwrap().0);
    calls.map(|call| declaration(&folder, call)).collect()
}

fn declaration(folder: &str, call: &str) -> Declaration {
    let (front, list) = call.split_once("uses").unwrap();
    let mut uses = quoted(list);
    let script = quoted(front).next().unwrap().to_owned();
    Declaration { folder: folder.to_owned(), script, uses: uses.by_ref().map(str::to_owned).collect() }
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            files.push(path);
        }
    }
    files.sort();
    files
}
