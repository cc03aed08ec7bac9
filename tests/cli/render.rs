//! What is drawn, as snapshots: the same sites always give the same text.

use bluegreen::cli::render::describe::describe;
use bluegreen::cli::render::table::{self, Rows, site_columns, site_row};
use bluegreen::cli::render::tree::{Moment, Style, plain, tree};
use bluegreen::cli::view::{Site, by_prefix};
use bluegreen::control::api::SiteView;
use bluegreen::rollout::Revision;

use crate::samples::{self, baking, fresh, now, rejected, resting, starting};

fn site(view: SiteView) -> Site {
    Site::try_from(view).expect("the sample is a site")
}

fn moment() -> Moment {
    let waited = "2026-11-22T18:30:48Z".parse().expect("a moment");
    Moment { now: now(), waited: Some(waited), note: None }
}

fn drawn(view: SiteView, columns: usize) -> String {
    let style = Style { columns, rows: 24, colours: false };
    tree(&site(view), &moment(), style).join("\n")
}

#[test]
fn the_table_of_sites() {
    let views = [resting("shop"), starting("intranet"), baking("docs"), rejected("blog"), fresh("new")];
    for (name, wide) in [("table", false), ("table_wide", true)] {
        let rows: Vec<Vec<String>> = views.iter().map(|view| site_row(&site(view.clone()), now(), wide)).collect();
        insta::assert_snapshot!(name, Rows::new(&site_columns(wide)).text(&rows, true));
    }
}

#[test]
fn a_row_that_comes_later_stands_under_the_header() {
    let mut rows = Rows::new(&site_columns(false));
    let first = rows.text(&[site_row(&site(starting("intranet")), now(), false)], true);
    let later = rows.text(&[site_row(&site(resting("a")), now(), false)], false);
    let column = |line: &str, word: &str| line.find(word).unwrap_or_else(|| panic!("{word:?} is in {line:?}"));
    let header = first.lines().next().expect("a header");
    assert_eq!(column(header, "PHASE"), column(&later, "Idle"));
    assert_eq!(column(header, "AGE"), column(&later, "2d9h"));
}

#[test]
fn everything_about_a_site() {
    insta::assert_snapshot!(
        "describe_starting",
        describe(&site(starting("shop")), &samples::history(), "bluegreen history", now())
    );
    insta::assert_snapshot!(
        "describe_rejected",
        describe(&site(rejected("shop")), &samples::history(), "bluegreen history", now())
    );
    insta::assert_snapshot!(
        "describe_fresh",
        describe(&site(fresh("shop")), &Default::default(), "bluegreen history", now())
    );
}

#[test]
fn what_happened_to_a_site() {
    insta::assert_snapshot!("history", table::history(&samples::history(), now()));
}

#[test]
fn a_rollout_as_it_goes() {
    insta::assert_snapshot!("tree_starting", drawn(starting("shop"), 100));
    insta::assert_snapshot!("tree_baking", drawn(baking("shop"), 100));
    insta::assert_snapshot!("tree_rejected", drawn(rejected("shop"), 100));
    insta::assert_snapshot!("tree_fresh", drawn(fresh("shop"), 100));
}

#[test]
fn a_drawing_fits_into_any_terminal() {
    for columns in [10, 40, 79, 200] {
        for view in [starting("shop"), baking("shop"), rejected("shop")] {
            for line in drawn(view, columns).lines() {
                assert!(line.chars().count() <= columns, "{columns} columns, and {line:?}");
            }
        }
    }
    let low = Style { columns: 80, rows: 4, colours: true };
    assert!(tree(&site(baking("shop")), &moment(), low).len() < 4, "a drawing that scrolls can't be drawn over");
}

#[test]
fn what_an_app_printed_does_not_command_the_terminal() {
    let mut view = starting("shop");
    view.slots[1].instances[1].detail = "\x1b[2J\x07gone".to_owned();
    view.object["status"]["conditions"][0]["message"] = "\x1b]0;title\x07".into();
    let site = site(view);
    let style = Style { columns: 100, rows: 24, colours: false };
    let all = tree(&site, &moment(), style).join("\n")
        + &describe(&site, &samples::history(), "bluegreen history", now())
        + &site_row(&site, now(), true).join(" ")
        + &plain(&site);
    assert!(!all.contains('\x1b') && !all.contains('\x07'), "{all:?}");
}

#[test]
fn a_revision_is_known_by_its_beginning() {
    let known = [samples::old(), samples::new(), Revision::new(0xfeed << 112)];
    assert_eq!(by_prefix("01", &known).expect("only one begins so"), samples::old());
    assert_eq!(by_prefix("FEEDB", &known).expect("only one begins so"), samples::new());
    let said = |prefix: &str| by_prefix(prefix, &known).expect_err(prefix).to_string();
    assert_eq!(said("feed"), "\"feed\" is the beginning of feedbeef00, feed000000: write more of it");
    assert_eq!(
        said("77"),
        "there is no revision \"77\" that this can be done with; there is 0123456789, feedbeef00, feed000000"
    );
    assert!(said("").contains("there is no revision"));
}
