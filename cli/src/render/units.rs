//! Times and sizes in few characters.

use titan_api::time::Timestamp;

/// How long ago, in the largest unit that fits: `42s`, `3m`, `5h`, `12d`. A time that has not come yet is `0s`, since
/// this machine's clock need not agree with that of the store.
#[must_use]
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_ms().saturating_sub(then.as_ms()).max(0) / 1_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long until then, in the largest unit that fits, rounded up; `over` if that time has come.
#[must_use]
pub fn left(then: Timestamp, now: Timestamp) -> String {
    let ms = then.as_ms().saturating_sub(now.as_ms());
    let in_units = |unit_ms: i64| ms.saturating_add(unit_ms - 1) / unit_ms;
    match ms {
        ..=0 => "over".to_owned(),
        1..=60_000 => format!("{}s", in_units(1_000)),
        60_001..=3_600_000 => format!("{}m", in_units(60_000)),
        3_600_001..=172_800_000 => format!("{}h", in_units(3_600_000)),
        _ => format!("{}d", in_units(86_400_000)),
    }
}

/// So many seconds: `42s`, `3m05s`, `2h03m`.
#[must_use]
pub fn seconds(count: u64) -> String {
    match count {
        0..60 => format!("{count}s"),
        60..3_600 => format!("{}m{:02}s", count / 60, count % 60),
        _ => format!("{}h{:02}m", count / 3_600, count % 3_600 / 60),
    }
}

/// How long something took: `0.25s`, `12.3s`, `3m05s`, `2h03m`.
#[must_use]
pub fn took(from: Timestamp, until: Timestamp) -> String {
    let ms = until.as_ms().saturating_sub(from.as_ms()).max(0);
    let seconds = ms / 1_000;
    match ms {
        0..10_000 => format!("{seconds}.{:02}s", ms % 1_000 / 10),
        10_000..60_000 => format!("{seconds}.{}s", ms % 1_000 / 100),
        60_000..3_600_000 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// Megabytes, in gigabytes from 1,024 on: `512 MB`, `15.6 GB`.
#[must_use]
pub fn megabytes(mb: u64) -> String {
    if mb < 1_024 {
        return format!("{mb} MB");
    }
    let tenths = mb.saturating_mul(10) / 1_024;
    format!("{}.{} GB", tenths / 10, tenths % 10)
}

/// Bytes, in the largest unit of 1,024 that fits: `17 B`, `64.0 KB`, `10.5 MB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    let mut tenths = count.saturating_mul(10);
    let mut unit = 0;
    while tenths >= 10_240 && unit < 3 {
        tenths /= 1_024;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ => format!("{}.{} {}", tenths / 10, tenths % 10, ["B", "KB", "MB", "GB"][unit]),
    }
}

/// The time by this machine's clock, for ages alone.
#[must_use]
pub fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
