//! Rooms use only the rooms that `layers.toml` allows, and every source file belongs to the crate.
//!
//! Only production code counts: items under `#[cfg(test)]` may use what they like. Nothing here names a room, so that
//! every crate with rooms can have this file.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, UseTree};

/// Room → rooms it may use.
type Layers = BTreeMap<String, BTreeSet<String>>;

/// Reads the `[rooms]` of a `layers.toml`: lines of the form `room = ["other", "another"]`, or `["*"]` for all.
fn parse_layers(text: &str) -> Layers {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '[']));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(room, allowed)| {
            let list = allowed.split('#').next().unwrap_or_default().trim().trim_matches(['[', ']']);
            let names = list.split(',').map(|name| name.trim().trim_matches('"').to_owned());
            (room.trim().to_owned(), names.filter(|name| !name.is_empty()).collect())
        })
        .collect()
}

/// What was found in one file: paths that start with `crate::`, and modules in files of their own.
#[derive(Default)]
struct Found {
    rooms: Vec<(String, usize)>,
    modules: Vec<(Vec<String>, bool)>,
    inline: Vec<String>,
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string().starts_with("test"))
    })
}

impl Found {
    /// Collects the rooms of a use tree whose path so far is `crate`.
    fn collect(&mut self, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => self.rooms.push((path.ident.to_string(), path.ident.span().start().line)),
            UseTree::Name(name) => self.rooms.push((name.ident.to_string(), name.ident.span().start().line)),
            UseTree::Rename(name) => {
                self.rooms.push((name.ident.to_string(), name.ident.span().start().line))
            }
            UseTree::Group(group) => group.items.iter().for_each(|item| self.collect(item)),
            UseTree::Glob(glob) => self.rooms.push(("*".to_owned(), glob.star_token.spans[0].start().line)),
        }
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Const(item) => &item.attrs,
            _ => &[],
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let mut path = self.inline.clone();
        path.push(item.ident.to_string());
        let test = is_test(&item.attrs);
        match &item.content {
            None => self.modules.push((path, test)),
            Some(_) if test => {}
            Some((_, items)) => {
                self.inline = path;
                items.iter().for_each(|item| self.visit_item(item));
                self.inline.pop();
            }
        }
    }

    fn visit_use_tree(&mut self, tree: &'ast UseTree) {
        match tree {
            UseTree::Path(path) if path.ident == "crate" => self.collect(&path.tree),
            UseTree::Group(_) => visit::visit_use_tree(self, tree),
            _ => {}
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let mut segments = path.segments.iter();
        if segments.next().is_some_and(|first| first.ident == "crate")
            && let Some(room) = segments.next()
        {
            self.rooms.push((room.ident.to_string(), room.ident.span().start().line));
        }
        visit::visit_path(self, path);
    }
}

/// Walks a file and the modules it declares; collects what is wrong and which files were seen.
fn walk(
    file: &Path,
    folder: &Path,
    room: Option<&str>,
    layers: &Layers,
    seen: &mut BTreeSet<PathBuf>,
) -> Vec<String> {
    seen.insert(file.to_owned());
    let text = std::fs::read_to_string(file).unwrap();
    let mut found = Found::default();
    found.visit_file(&syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    let mut wrong = Vec::new();
    if let Some(room) = room {
        let allowed = &layers[room];
        for (used, line) in &found.rooms {
            let fine =
                used == room || allowed.contains(used) || allowed.contains("*") || !layers.contains_key(used);
            if !fine || used == "*" {
                wrong.push(format!("{}:{line}: room `{room}` may not use `crate::{used}`", file.display()));
            }
        }
    }
    for (path, test) in found.modules {
        let parent = path[..path.len() - 1].iter().fold(folder.to_owned(), |folder, name| folder.join(name));
        let name = path.last().unwrap();
        let flat = parent.join(format!("{name}.rs"));
        let child = if flat.exists() { flat } else { parent.join(name).join("mod.rs") };
        let child_room = room.unwrap_or(name);
        if room.is_none() && !test && !layers.contains_key(name) {
            wrong.push(format!("{}: room `{name}` is not in layers.toml", file.display()));
            continue;
        }
        let child_wrong = walk(&child, &parent.join(name), Some(child_room), layers, seen);
        wrong.extend(if test { Vec::new() } else { child_wrong });
    }
    wrong
}

fn sources(folder: &Path, into: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.insert(path);
        }
    }
}

/// Everything that is wrong in a crate.
fn violations(root: &Path) -> Vec<String> {
    let layers = parse_layers(&std::fs::read_to_string(root.join("layers.toml")).unwrap());
    let source = root.join("src");
    let mut seen = BTreeSet::from([source.join("main.rs")]);
    let mut wrong = walk(&source.join("lib.rs"), &source, None, &layers, &mut seen);
    let mut all = BTreeSet::new();
    sources(&source, &mut all);
    wrong.extend(all.difference(&seen).map(|orphan| format!("{}: in no `mod`", orphan.display())));
    wrong
}

/// The crate under test. Asked while running: clones that share a target folder also share this binary.
fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap().into()
}

#[test]
fn rooms_use_only_the_rooms_that_layers_toml_allows_and_no_file_is_in_no_mod() {
    let wrong = violations(&package());

    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_cycle() {
    let layers = parse_layers(&std::fs::read_to_string(package().join("layers.toml")).unwrap());
    let mut left = layers.clone();
    while let Some(bottom) = left.iter().find(|(_, uses)| uses.iter().all(|used| !left.contains_key(used))) {
        let bottom = bottom.0.clone();
        left.remove(&bottom);
    }

    assert!(left.is_empty(), "a cycle among {:?}", left.keys());
}

#[test]
fn a_forbidden_use_an_inline_path_and_a_lost_file_are_found() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("layers.toml", "[rooms]\nlow = []\nhigh = [\"low\"]\n");
    write("src/lib.rs", "pub mod low;\npub mod high;\n");
    write("src/high.rs", "use crate::low::Thing;\n");
    write("src/low/mod.rs", "mod part;\n#[cfg(test)]\nmod tests { use crate::high::Thing; }\n");
    write("src/low/part.rs", "use crate::{low::A, high::B};\nfn f() { crate::high::g(); }\n");
    write("src/low/lost.rs", "");

    let wrong = violations(root.path()).join("\n").replace(&root.path().display().to_string(), "");

    assert_eq!(
        wrong,
        "/src/low/part.rs:1: room `low` may not use `crate::high`\n\
         /src/low/part.rs:2: room `low` may not use `crate::high`\n\
         /src/low/lost.rs: in no `mod`"
    );
}
