//! What a running daemon watches: which files its configuration is made of, and whether they have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::extend;
use super::files::files_of;
use super::problem::Report;
use super::reading::read_file;
use super::yaml::{self, Kind, Node};

/// More files are not watched.
const MOST: usize = 5000;

/// The files that a configuration is made of: itself, its policies with those that they extend, and the secrets and
/// certificates that it names. Directories of policies are among them, so that a new file is noticed. Files that
/// cannot be read are there too: they may become right.
pub fn watched(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::from([path.to_owned()]);
    let Ok(bytes) = read_file(path) else { return found };
    let Some(node) = yaml::read(&bytes, &Report::new("")) else { return found };
    let base = path.parent().unwrap_or(Path::new(""));
    name_files(&node, base, &mut found);
    for policy in policies(&node) {
        let path = base.join(policy);
        for file in files_of(&path).unwrap_or_default() {
            found.extend(extend::files_of(&file));
        }
        found.insert(path);
    }
    while found.len() > MOST {
        found.pop_last();
    }
    // The configuration itself, whatever its place in the order.
    found.insert(path.to_owned());
    found
}

fn policies(root: &Node) -> Vec<&str> {
    let Kind::Map(entries) = &root.kind else { return Vec::new() };
    let items = entries.iter().find(|entry| entry.key == "policies").map(|entry| &entry.value.kind);
    let Some(Kind::List(items)) = items else { return Vec::new() };
    items.iter().filter_map(scalar).collect()
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

/// Every field that names a file does so by its name: `file`, `…_file`, `certificate` and `key`.
fn name_files(node: &Node, base: &Path, found: &mut BTreeSet<PathBuf>) {
    match &node.kind {
        Kind::Map(entries) => {
            for entry in entries {
                let key = entry.key.as_str();
                let names = key == "file" || key.ends_with("_file") || ["certificate", "key"].contains(&key);
                match scalar(&entry.value) {
                    Some(text) if names => drop(found.insert(base.join(text))),
                    _ => name_files(&entry.value, base, found),
                }
            }
        }
        Kind::List(items) => items.iter().for_each(|item| name_files(item, base, found)),
        Kind::Null | Kind::Scalar { .. } => {}
    }
}

/// What the files looked like. An editor that writes a new file and renames it, and a link that leads somewhere else
/// (as Kubernetes changes what a ConfigMap shows), give another inode; a write in place another time or size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamps(BTreeMap<PathBuf, Option<Stamp>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Of a directory: what is in it. Its times are too coarse to show every change.
    names: BTreeSet<OsString>,
}

impl Stamps {
    /// Looks at the files, through links. A directory stands for the names in it, and changes with them.
    pub fn of(files: &BTreeSet<PathBuf>) -> Stamps {
        Stamps(files.iter().map(|path| (path.clone(), Stamp::of(path))).collect())
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let data = std::fs::metadata(path).ok()?;
        let listed = data.is_dir().then(|| std::fs::read_dir(path).ok()).flatten();
        let names = listed.into_iter().flatten().flatten().take(MOST).map(|entry| entry.file_name());
        Some(Stamp {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
            names: names.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("policies")).unwrap();
        fs::write(folder.path().join("policies/base.yaml"), "abstract: true\n").unwrap();
        fs::write(folder.path().join("policies/a.yaml"), "extends: base.yaml\nname: a\n").unwrap();
        let config = "policies: [policies/a.yaml]\nproviders:\n  prom: {bearer_token: {file: token}, \
                      ca_file: ca.pem}\nwrong: here\n";
        fs::write(folder.path().join("serin.yaml"), config).unwrap();
        folder
    }

    #[test]
    fn everything_that_a_configuration_is_made_of_is_watched() {
        let folder = folder();
        let found = watched(&folder.path().join("serin.yaml"));
        let names = ["ca.pem", "policies/a.yaml", "policies/base.yaml", "serin.yaml", "token"];
        assert_eq!(found, names.iter().map(|name| folder.path().join(name)).collect());
    }

    #[test]
    fn a_write_a_rename_and_a_link_that_leads_elsewhere_are_changes() {
        let folder = folder();
        let path = folder.path().join("serin.yaml");
        let files = watched(&path);
        let mut before = Stamps::of(&files);
        assert_eq!(Stamps::of(&files), before);
        let mut differs = |what: &str| {
            let now = Stamps::of(&files);
            assert_ne!(now, before, "{what}");
            before = now;
        };
        fs::write(&path, "policies: []\n").unwrap();
        differs("a write in place");
        fs::write(folder.path().join(".new"), "policies: []\n").unwrap();
        fs::rename(folder.path().join(".new"), &path).unwrap();
        differs("a rename over it, of the same size");
        fs::remove_file(folder.path().join("policies/base.yaml")).unwrap();
        differs("a file that is gone");
        // As Kubernetes does it: `..data` is a link to a directory, and is swapped.
        for version in ["v1", "v2"] {
            fs::create_dir(folder.path().join(version)).unwrap();
            fs::write(folder.path().join(version).join("serin.yaml"), "policies: []\n").unwrap();
        }
        std::os::unix::fs::symlink("v1", folder.path().join("..data")).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("..data/serin.yaml", &path).unwrap();
        differs("a link in its place");
        std::os::unix::fs::symlink("v2", folder.path().join("..tmp")).unwrap();
        fs::rename(folder.path().join("..tmp"), folder.path().join("..data")).unwrap();
        differs("the link leads elsewhere");
    }

    #[test]
    fn a_new_policy_in_a_directory_is_a_change() {
        let folder = folder();
        let path = folder.path().join("serin.yaml");
        fs::write(&path, "policies: [policies]\n").unwrap();
        let files = watched(&path);
        let before = Stamps::of(&files);
        fs::write(folder.path().join("policies/b.yaml"), "name: b\n").unwrap();
        assert_ne!(Stamps::of(&files), before);
    }
}
