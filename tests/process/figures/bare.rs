//! What the disk itself takes for a write of a commit's size that outlives a power cut.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// About what SQLite writes for the commit of one record: five pages.
pub const KIB: usize = 20;

/// Medians, in milliseconds.
pub struct Syncs {
    pub appended: f64,
    pub appended_with_fsync: f64,
    pub overwritten: f64,
}

/// Each for this time.
pub fn measure(folder: &Path, time: Duration) -> Syncs {
    Syncs {
        appended: median(folder, time, true, File::sync_data),
        appended_with_fsync: median(folder, time, true, File::sync_all),
        overwritten: median(folder, time, false, File::sync_data),
    }
}

fn median(folder: &Path, time: Duration, append: bool, sync: fn(&File) -> std::io::Result<()>) -> f64 {
    let bytes = vec![b'x'; KIB << 10];
    let path = folder.join("bare");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).expect("a file");
    file.write_all_at(&bytes, 0).and_then(|()| file.sync_all()).expect("written");
    let (mut took, until) = (Vec::new(), Instant::now() + time);
    while took.len() < 3 || Instant::now() < until {
        let began = Instant::now();
        let at = if append { (took.len() + 1) * bytes.len() } else { 0 };
        file.write_all_at(&bytes, at as u64).and_then(|()| sync(&file)).expect("written and synced");
        took.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}
