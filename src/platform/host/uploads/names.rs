//! What a name in the folder means.

use crate::api::types::Sha256;

/// The ending of the empty file that says that what lies beside it is whole.
pub const DONE: &str = ".done";
/// The ending of the file that holds the checksum of what lies beside it.
pub const SUM: &str = ".sha256";
/// What programs call a file that they are not done with.
const UNFINISHED: [&str; 7] = [".part", ".filepart", ".partial", ".tmp", ".temp", ".crdownload", ".swp"];
/// The longest name of a release; NAME.sha256 and the like are names too.
const LONGEST: usize = 200;

/// Whether a release may be called so: a plain word, without a dot at its front, that no program gives to what is not done.
#[must_use]
pub fn is_release(name: &str) -> bool {
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-_.~+@,=".contains(&letter);
    let lower = name.to_ascii_lowercase();
    name.len() <= LONGEST
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
        && name.bytes().all(plain)
        && !lower.ends_with(DONE)
        && !lower.ends_with(SUM)
        && !UNFINISHED.iter().any(|ending| lower.ends_with(ending))
}

/// Whether a file of this name is an archive that is known here.
#[must_use]
pub fn is_archive(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    [".tar.gz", ".tgz", ".zip", ".jar", ".war"].iter().any(|ending| lower.ends_with(ending))
}

/// Whether a rename from `from` to the release `to` says that it is whole. `from`: `None`, from outside of the folder.
///
/// rsync's own temporary name says nothing: with `--partial`, which `-P` includes, it gives the last name to what was cut, too.
#[must_use]
pub fn proves(from: Option<&str>, to: &str) -> bool {
    let Some(from) = from else { return true };
    let rsync = from
        .strip_prefix('.')
        .and_then(|rest| rest.strip_prefix(to))
        .and_then(|rest| rest.strip_prefix('.'))
        .is_some_and(|end| end.len() == 6 && end.bytes().all(|letter| letter.is_ascii_alphanumeric()));
    !is_release(from) && !rsync
}

/// What the file of a checksum says: the digits alone, or as `sha256sum` prints them, of this file.
///
/// # Errors
/// It says something else.
pub fn checksum(text: &str, of: &str) -> Result<Sha256, String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err("it holds not one line but none, or several".to_owned());
    };
    let (digits, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let sum: Sha256 = digits
        .to_ascii_lowercase()
        .parse()
        .map_err(|_| "it does not begin with 64 hexadecimal digits, as `sha256sum` prints them".to_owned())?;
    let named = rest.trim_start().trim_start_matches('*');
    let last = named.rsplit(['/', '\\']).next().unwrap_or_default();
    if !named.is_empty() && last != of {
        return Err(format!("it is the checksum of {last:?}"));
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_is_not_done_with_is_no_release() {
        for name in ["shop.tar.gz", "shop-1.4.2.zip", "v2", "Shop_1.WAR"] {
            assert!(is_release(name), "{name}");
        }
        let long = "a".repeat(201);
        for name in [
            "",
            ".",
            "..",
            ".shop.tar.gz.Ab12cD",
            "shop.tar.gz.part",
            "shop.tar.gz.filepart",
            "shop.tar.gz.done",
            "x.sha256",
            "-rf",
            "a b.zip",
            "a/b.zip",
            "a\n.zip",
            "$(id).zip",
            "shop.zip.FILEPART",
            "ü.zip",
            &long,
        ] {
            assert!(!is_release(name), "{name}");
        }
    }

    #[test]
    fn a_rename_says_that_it_is_whole_unless_rsync_may_have_been_cut() {
        for from in
            [Some("shop.zip.part"), Some("shop.zip.filepart"), Some(".shop.zip"), Some(".upload.shop.zip"), None]
        {
            assert!(proves(from, "shop.zip"), "{from:?}");
        }
        for from in ["other.zip", ".shop.zip.Ab12cD"] {
            assert!(!proves(Some(from), "shop.zip"), "{from}");
        }
    }

    #[test]
    fn a_checksum_is_read_as_sha256sum_writes_it_and_is_that_of_the_file() {
        let digits = "ab".repeat(32);
        for text in [
            digits.clone(),
            format!("{digits}\n"),
            format!("{digits}  shop.zip\n"),
            format!("{digits} *shop.zip\r\n"),
            format!("{}  build/shop.zip", digits.to_uppercase()),
        ] {
            assert_eq!(checksum(&text, "shop.zip").map(|sum| sum.as_str().to_owned()), Ok(digits.clone()), "{text:?}");
        }
        let other = format!("{digits}  other.zip");
        let two = format!("{digits}  shop.zip\n{digits}  more.zip\n");
        for text in ["", "abc", &digits[1..], &other, &two] {
            assert!(checksum(text, "shop.zip").is_err(), "{text:?}");
        }
    }
}
