//! Reads files from disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::core::policy::Policy;

use super::decode::Field;
use super::problem::{Problems, Report};
use super::reading::whole_file;
use super::{extend, policy, write};

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyFile {
    /// A policy that rollouts can ask for.
    Whole(Box<Policy>),
    /// One that is `abstract`: it is there to be extended.
    Base,
}

/// Reads a policy from a file, and those that it extends.
///
/// # Errors
/// All problems of the files; one, if it cannot be read.
pub fn load_policy(path: impl AsRef<Path>) -> Result<Policy, Problems> {
    let path = path.as_ref();
    match read_policy(path)? {
        PolicyFile::Whole(policy) => Ok(*policy),
        PolicyFile::Base => Err(whole_file(
            path,
            "abstract",
            "the policy is only there to be extended".to_owned(),
            "a policy that extends it",
        )),
    }
}

fn read_policy(path: &Path) -> Result<PolicyFile, Problems> {
    let report = Report::new(path.display().to_string());
    let read = extend::read(path, &report).and_then(|whole| {
        let root = Field::root(&whole.node, &report);
        let is_base = match root.has("abstract") {
            true => root.at_path(&["abstract"]).boolean()?,
            false => false,
        };
        let read = policy::policy(&root, policy::version(&whole.files), is_base);
        if is_base {
            return Some(PolicyFile::Base);
        }
        read.map(|policy| PolicyFile::Whole(Box::new(policy)))
    });
    report.finish(read)
}

/// A policy with all that it extends laid over each other, as YAML without comments.
///
/// # Errors
/// All problems of the files.
pub fn resolved_policy(path: impl AsRef<Path>) -> Result<String, Problems> {
    let path = path.as_ref();
    read_policy(path)?;
    let report = Report::new(path.display().to_string());
    let text = extend::read(path, &report).map(|whole| write::write(&whole.node));
    report.finish(text)
}

/// Reads policies from files, and from the `.yaml` and `.yml` files of directories. Each file has a
/// result; the second of two policies with one name is refused.
pub fn check_policy_files<P: AsRef<Path>>(paths: &[P]) -> Vec<(PathBuf, Result<PolicyFile, Problems>)> {
    let mut results: Vec<(PathBuf, Result<PolicyFile, Problems>)> = Vec::new();
    let mut known = BTreeSet::new();
    for path in paths.iter().map(AsRef::as_ref) {
        match files_of(path) {
            Ok(files) => {
                for file in files {
                    // A file that is named twice, or in a directory that is named too, is read once.
                    if known.insert(file.canonicalize().unwrap_or_else(|_| file.clone())) {
                        let policy = read_policy(&file);
                        results.push((file, policy));
                    }
                }
            }
            Err(problems) => results.push((path.to_owned(), Err(problems))),
        }
    }
    let mut first: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (path, result) in &mut results {
        let Ok(PolicyFile::Whole(policy)) = result else { continue };
        if let Some(other) = first.get(&policy.name) {
            let message = format!("the policy `{}` is already in {}", policy.name, other.display());
            *result = Err(whole_file(path, "name", message, "names that differ"));
        } else {
            first.insert(policy.name.clone(), path.clone());
        }
    }
    results
}

/// As [`check_policy_files`], without those that are right and only there to be extended.
pub fn check_policies<P: AsRef<Path>>(paths: &[P]) -> Vec<(PathBuf, Result<Policy, Problems>)> {
    let whole = |(path, result): (PathBuf, Result<PolicyFile, Problems>)| match result {
        Ok(PolicyFile::Whole(policy)) => Some((path, Ok(*policy))),
        Ok(PolicyFile::Base) => None,
        Err(problems) => Some((path, Err(problems))),
    };
    check_policy_files(paths).into_iter().filter_map(whole).collect()
}

pub(super) fn files_of(path: &Path) -> Result<Vec<PathBuf>, Problems> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable =
        |error: std::io::Error| whole_file(path, "", format!("the directory cannot be read: {error}"), "");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let is_yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        let message = "the directory has no policy".to_owned();
        return Err(whole_file(path, "", message, "files that end in .yaml or .yml"));
    }
    files.sort();
    Ok(files)
}
