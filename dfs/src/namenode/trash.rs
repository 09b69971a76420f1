//! The trash: clients move what they remove to `/user/NAME/.Trash/Current` where `fs.trash.interval` is set. From time to
//! time the emptier renames `Current` to a checkpoint, named by its time, and removes checkpoints older than the interval.
//!
//! Names of checkpoints are `yyMMddHHmmss`, as Hadoop's `TrashPolicyDefault` writes them; here in UTC.

use dfs_wire::proto::hdfs::{DeleteRequestProto, Rename2RequestProto};

use super::state::{NameNode, State};
use crate::Error;

/// Below it every user has a home directory: `dfs.user.home.dir.prefix`.
const HOMES: &str = "/user";
const CURRENT: &str = "Current";
/// Home directories, or checkpoints of one, that are looked at in one turn under the lock.
const PAGE: usize = 1000;
const DAY_S: u64 = 86_400;

/// What is done to one trash directory.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    /// `Current` gets this name.
    Checkpoint(String),
    Remove(String),
}

/// Days since 1970 as year, month and day (the proleptic Gregorian calendar, by eras of 400 years from March on).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The name of a checkpoint made `seconds` after 1970.
fn checkpoint_name(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / DAY_S);
    let rest = seconds % DAY_S;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{:02}{month:02}{day:02}{hour:02}{minute:02}{second:02}", year % 100)
}

/// When a checkpoint was made. Its name may end with `-N`, and older ones have no seconds.
fn checkpoint_time(name: &str) -> Option<u64> {
    let digits = name.split('-').next()?;
    if !matches!(digits.len(), 10 | 12) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |index: usize| {
        digits
            .get(index * 2..index * 2 + 2)
            .map_or(Some(0), |pair| pair.parse::<u64>().ok())
    };
    let (month, day) = (part(1)?, part(2)?);
    let (hour, minute, second) = (part(3)?, part(4)?, part(5)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(days(2000 + part(0)?, month, day) * DAY_S + hour * 3600 + minute * 60 + second)
}

/// What is due in a trash directory with these entries.
fn plan(entries: &[String], now_s: u64, keep_s: u64) -> Vec<Action> {
    let expired = |name: &&String| checkpoint_time(name).is_some_and(|made| made + keep_s < now_s);
    let mut actions: Vec<Action> = entries.iter().filter(expired).cloned().map(Action::Remove).collect();
    if entries.iter().any(|name| name == CURRENT) {
        let name = checkpoint_name(now_s);
        let taken = |name: &String| entries.contains(name);
        let numbered = (1..PAGE).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !taken(name));
        actions.extend(free.map(Action::Checkpoint));
    }
    actions
}

/// The directories among the next entries of one, and the entry to go on after.
struct Page {
    directories: Vec<String>,
    next: Option<Vec<u8>>,
}

fn page(state: &State, directory: &str, after: &[u8]) -> Result<Option<Page>, Error> {
    let listed = state.replicated.names.list(directory, after, PAGE)?;
    Ok(listed.map(|(inodes, remaining)| {
        let last = inodes.last().filter(|_| remaining > 0);
        let directories = inodes.iter().filter(|inode| inode.is_directory());
        Page {
            next: last.map(|inode| inode.name.as_bytes().to_vec()),
            directories: directories.map(|inode| inode.name.to_string()).collect(),
        }
    }))
}

impl NameNode {
    /// Makes checkpoints of all users' trash and removes those that are old, as of `time` by the wall clock.
    ///
    /// # Errors
    /// If changes are refused, such as in safe mode.
    pub async fn empty_trash(&self, time: u64) -> Result<(), Error> {
        let asker = self.own_asker();
        let (now_s, keep_s) = (time / 1000, self.settings.trash_minutes * 60);
        let mut after = Vec::new();
        loop {
            let Some(homes) = page(&self.lock(), HOMES, &after)? else {
                return Ok(());
            };
            for home in &homes.directories {
                let trash = format!("{HOMES}/{home}/.Trash");
                let Some(entries) = page(&self.lock(), &trash, &[])? else {
                    continue;
                };
                for action in plan(&entries.directories, now_s, keep_s) {
                    match action {
                        Action::Remove(name) => {
                            let (src, recursive) = (format!("{trash}/{name}"), true);
                            self.delete(&asker, DeleteRequestProto { src, recursive }).await?;
                        }
                        Action::Checkpoint(name) => {
                            let rename = Rename2RequestProto {
                                src: format!("{trash}/{CURRENT}"),
                                dst: format!("{trash}/{name}"),
                                overwrite_dest: false,
                                move_to_trash: None,
                            };
                            self.rename2(&asker, rename).await?;
                        }
                    }
                }
            }
            match homes.next {
                Some(next) => after = next,
                None => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_named_by_their_time() {
        for (seconds, name) in [
            (951_782_400, "000229000000"),
            (1_709_251_199, "240229235959"),
            (1_798_761_599, "261231235959"),
            (4_102_444_799, "991231235959"),
        ] {
            assert_eq!(checkpoint_name(seconds), name);
            assert_eq!(checkpoint_time(name), Some(seconds));
        }
        for second in (946_684_800..4_102_444_800).step_by(86_399 * 7) {
            assert_eq!(checkpoint_time(&checkpoint_name(second)), Some(second));
        }
        assert_eq!(checkpoint_time("2402292359"), Some(1_709_251_140));
        assert_eq!(checkpoint_time("240229235959-3"), Some(1_709_251_199));
        for other in [
            "Current",
            "",
            "241329235959",
            "2402292359590",
            "24022923595x",
            "240229245959",
        ] {
            assert_eq!(checkpoint_time(other), None, "{other}");
        }
    }

    #[test]
    fn old_checkpoints_go_and_the_present_trash_becomes_one() {
        let now = 1_798_761_599;
        let entries = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all = entries(&["261231235959", "261231235458", "261231235459", "notes", "Current"]);
        let wanted = [
            Action::Remove("261231235458".to_owned()),
            Action::Checkpoint("261231235959-1".to_owned()),
        ];
        assert_eq!(plan(&all, now, 300), wanted);
        assert_eq!(plan(&entries(&["notes"]), now, 300), []);
    }
}
