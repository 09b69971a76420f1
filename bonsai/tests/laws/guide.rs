//! Law: a walk of `docs/guide` names items that are there: a link whose text is code points at a file that defines it.

use crate::imports::defines;
use crate::source::code_of;
use crate::tree::Tree;

const FOLDER: &str = "docs/guide/";

pub fn broken(tree: &Tree) -> Vec<String> {
    let mut broken = Vec::new();
    for page in tree.pages.iter().filter(|page| page.path.starts_with(FOLDER)) {
        for (item, target) in code_links(&page.text) {
            let path = target.trim_start_matches("../");
            let file = tree.files.iter().find(|file| file.path == path);
            // That the target is there is another law's.
            if file.is_some_and(|file| !defines(&code_of(&file.text), item)) {
                broken.push(format!("{}: {path} has no item `{item}`", page.path));
            }
        }
    }
    broken
}

/// The links of a page whose text is one code span: the code and the target.
fn code_links(text: &str) -> Vec<(&str, &str)> {
    let starts = text.split("[`").skip(1);
    starts
        .filter_map(|rest| {
            let (item, rest) = rest.split_once("`](")?;
            let target = rest.split(')').next()?;
            (!item.contains('[')).then_some((item, target))
        })
        .collect()
}
