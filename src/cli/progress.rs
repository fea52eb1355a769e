use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::authz::Progress;

/// Steps a second in which the bar is drawn anew.
const RATE: u8 = 10;

/// A bar on stderr while `work` runs, if that is a terminal; `work` tells it how much is done, and of how much.
pub(super) fn shown<T>(title: &'static str, work: impl FnOnce(&Progress<'_>) -> T) -> T {
    let bar = bar(title, "{msg} {wide_bar} {percent:>3}%");
    let result = work(&|done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    result
}

/// The same for what is done one after the other; `of` is None where nobody knows how many there are.
pub(super) fn one_by_one<T>(title: &'static str, of: Option<u64>, work: impl FnOnce(&dyn Fn()) -> T) -> T {
    let bar = match of {
        Some(_) => bar(title, "{msg} {wide_bar} {percent:>3}%"),
        None => bar(title, "{msg} {human_pos}"),
    };
    of.into_iter().for_each(|of| bar.set_length(of));
    let result = work(&|| bar.inc(1));
    bar.finish_and_clear();
    result
}

fn bar(title: &'static str, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(RATE));
    bar.set_style(ProgressStyle::with_template(template).expect("a good template"));
    bar.set_message(title);
    bar
}
