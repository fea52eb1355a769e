use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::authz::Progress;

/// Steps a second in which the bar is drawn anew.
const RATE: u8 = 10;

/// A bar on stderr while `work` runs, if that is a terminal; `work` tells it how much is done, and of how much.
pub(super) fn shown<T>(title: &'static str, work: impl FnOnce(&Progress<'_>) -> T) -> T {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(RATE));
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent:>3}%");
    bar.set_style(style.expect("a good template"));
    bar.set_message(title);
    let result = work(&|done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    result
}
